# Headers of CUDA that those of LibTorch include, by their files: they come with a toolkit, and as
# packages nvidia-* beside a CUDA build of PyTorch.
#
# Sets OUT to the folders to include; empty where LibTorch has no CUDA, or one of these headers or of
# those in ARGN is missing. WHAT is what there is none of then.
function(blockwise_locate_cuda_headers out what)
  set(${out} "" PARENT_SCOPE)
  if(NOT BLOCKWISE_TORCH_HAS_CUDA)
    return()
  endif()
  set(places "")
  if(BLOCKWISE_NVCC)  # the packages of PyTorch lack what cuda_runtime.h includes
    get_filename_component(toolkit ${BLOCKWISE_NVCC}/../../include ABSOLUTE)
    list(APPEND places ${toolkit})
  endif()
  file(GLOB packages ${BLOCKWISE_TORCH_ROOT}/../nvidia/*/include)
  list(APPEND places ${packages})
  set(found "")
  foreach(header crt/host_config.h cublas_v2.h cublasLt.h cusparse.h cusolverDn.h ${ARGN})
    find_path(place ${header} HINTS ${places} ENV CUDA_PATH PATH_SUFFIXES include NO_CACHE)
    if(NOT place)
      message(STATUS "no ${header}: built without ${what}")
      return()
    endif()
    list(APPEND found ${place})
    unset(place)
  endforeach()
  list(REMOVE_DUPLICATES found)
  message(STATUS "headers for ${what} in ${found}")
  set(${out} "${found}" PARENT_SCOPE)
endfunction()
