# A CUDA compiler for the kernels of optimizers/kernels/*.cu, by its files. CMake's own CUDA language
# does not know the layout of NVIDIA's wheels, and it would be a third language of the project.
#
# Where, in this order: BLOCKWISE_CUDA_TOOLKIT (OFF: nowhere), the wheels in .venv, CUDA_PATH, the
# nvcc of PATH, /usr/local/cuda. Result: BLOCKWISE_NVCC, empty where there is none, and
# BLOCKWISE_CUDART, the runtime as a static library, which needs no driver to start.
set(BLOCKWISE_CUDA_TOOLKIT "" CACHE STRING "Folder of a CUDA toolkit from 12.8 on, or OFF for no CUDA kernels")

function(blockwise_locate_cuda nvcc_out cudart_out)
  set(${nvcc_out} "" PARENT_SCOPE)
  set(${cudart_out} "" PARENT_SCOPE)
  if(BLOCKWISE_CUDA_TOOLKIT STREQUAL "OFF" OR BLOCKWISE_FUZZ)  # clang builds no host side here
    return()
  endif()
  set(roots "${BLOCKWISE_CUDA_TOOLKIT}")
  if(NOT roots)
    file(GLOB roots ${CMAKE_SOURCE_DIR}/.venv/lib/python3*/site-packages/nvidia/cu1[3-9])
    find_program(in_path nvcc NO_CACHE)
    if(in_path)
      get_filename_component(in_path ${in_path} REALPATH)
      get_filename_component(in_path ${in_path}/../.. ABSOLUTE)
    endif()
    list(APPEND roots $ENV{CUDA_PATH} ${in_path} /usr/local/cuda)
  endif()
  foreach(root IN LISTS roots)
    file(GLOB cudart ${root}/lib/libcudart_static.a ${root}/lib64/libcudart_static.a
         ${root}/targets/*/lib/libcudart_static.a)
    if(NOT EXISTS ${root}/bin/nvcc OR NOT cudart)
      continue()
    endif()
    execute_process(COMMAND ${root}/bin/nvcc --version OUTPUT_VARIABLE version)
    if("${version}" MATCHES "release ([0-9]+\\.[0-9]+)" AND CMAKE_MATCH_1 VERSION_GREATER_EQUAL 12.8)
      list(GET cudart 0 cudart)
      set(${nvcc_out} ${root}/bin/nvcc PARENT_SCOPE)
      set(${cudart_out} ${cudart} PARENT_SCOPE)
      message(STATUS "CUDA compiler ${CMAKE_MATCH_1} in ${root}")
      return()
    endif()
  endforeach()
  if(BLOCKWISE_CUDA_TOOLKIT)
    message(FATAL_ERROR "BLOCKWISE_CUDA_TOOLKIT=${BLOCKWISE_CUDA_TOOLKIT} holds no bin/nvcc from 12.8 on "
                        "with lib/libcudart_static.a.")
  endif()
  message(STATUS "no CUDA compiler: built without CUDA kernels")
endfunction()

blockwise_locate_cuda(BLOCKWISE_NVCC BLOCKWISE_CUDART)

# Ampere, Hopper and Blackwell, and PTX for what comes. --fmad=false: a multiply-add is fused where
# the source says so, as on the CPU.
set(BLOCKWISE_NVCC_FLAGS -std=c++20 -O3 --fmad=false --expt-relaxed-constexpr
    "-gencode=arch=compute_80,code=[compute_80,sm_80,sm_90,sm_100]" -ccbin ${CMAKE_CXX_COMPILER}
    -Xcompiler=-fPIC,-Wall,-Wextra)
if(BLOCKWISE_WERROR)
  list(APPEND BLOCKWISE_NVCC_FLAGS -Werror all-warnings)
endif()

# Sets OUT to the object file of a .cu source.
function(blockwise_cuda_object source out)
  get_filename_component(name ${source} NAME)
  set(object ${CMAKE_CURRENT_BINARY_DIR}/${name}.o)
  add_custom_command(OUTPUT ${object}
                     COMMAND ${BLOCKWISE_NVCC} ${BLOCKWISE_NVCC_FLAGS} -I${CMAKE_SOURCE_DIR}
                             -MD -MF ${object}.d -c ${source} -o ${object}
                     DEPENDS ${source} DEPFILE ${object}.d VERBATIM
                     COMMENT "Building CUDA object ${name}.o")
  set_source_files_properties(${object} PROPERTIES EXTERNAL_OBJECT TRUE GENERATED TRUE)
  set(${out} ${object} PARENT_SCOPE)
endfunction()
