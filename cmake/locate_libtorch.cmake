# Finds the LibTorch to build against, by its files. Two users: LibTorch.cmake, and the installer,
# which runs this file as a script to learn whether torch has to be installed at all:
#   cmake [-D Torch_DIR=DIR] -P cmake/locate_libtorch.cmake
#
# Where, in this order: Torch_DIR (an explicit wish: anything unusable there is an error),
# CMAKE_PREFIX_PATH (a search path: an unusable LibTorch there is passed over), the virtual
# environment `venv`. All but the last may be CMake or environment variables.
set(BLOCKWISE_TORCH_OLDEST 2.11)
set(BLOCKWISE_TORCH_TOO_NEW 2.16)

# The version, or a sentence that says why `root` cannot be used.
function(blockwise_inspect_torch root version_out problem_out)
  set(version "")
  set(problem "")
  foreach(file include/ATen/ATen.h lib/libtorch_cpu.so lib/libc10.so)
    if(NOT EXISTS "${root}/${file}")
      set(problem "there is no ${file}")
    endif()
  endforeach()
  foreach(header torch/headeronly/version.h torch/csrc/api/include/torch/version.h)
    if(NOT version AND EXISTS "${root}/include/${header}")
      file(STRINGS "${root}/include/${header}" lines
           REGEX "#define TORCH_VERSION_(MAJOR|MINOR|PATCH) [0-9]+")
      if("${lines}" MATCHES "MAJOR ([0-9]+).*MINOR ([0-9]+).*PATCH ([0-9]+)")
        set(version ${CMAKE_MATCH_1}.${CMAKE_MATCH_2}.${CMAKE_MATCH_3})
      endif()
    endif()
  endforeach()
  if(NOT problem AND NOT version)
    set(problem "its headers name no version")
  elseif(NOT problem AND (version VERSION_LESS BLOCKWISE_TORCH_OLDEST OR
                          version VERSION_GREATER_EQUAL BLOCKWISE_TORCH_TOO_NEW))
    set(problem "it is version ${version}, and blockwise builds on 2.11 to 2.15")
  endif()
  set(${version_out} "${version}" PARENT_SCOPE)
  set(${problem_out} "${problem}" PARENT_SCOPE)
endfunction()

# The first usable folder that holds include/ and lib/, and its version; empty when there is none.
function(blockwise_locate_torch venv root_out version_out)
  set(${root_out} "" PARENT_SCOPE)
  set(${version_out} "" PARENT_SCOPE)
  set(explicit "${Torch_DIR}")
  if(NOT explicit)
    set(explicit "$ENV{Torch_DIR}")
  endif()
  set(candidates "")
  if(explicit)
    list(APPEND candidates "${explicit}/../../.." "${explicit}")  # torch/share/cmake/Torch, or torch
  else()
    string(REPLACE ":" ";" environment_prefixes "$ENV{CMAKE_PREFIX_PATH}")
    foreach(prefix IN LISTS CMAKE_PREFIX_PATH environment_prefixes)
      # An unpacked LibTorch is its own prefix; torch.utils.cmake_prefix_path is torch/share/cmake.
      list(APPEND candidates "${prefix}" "${prefix}/../..")
    endforeach()
    if(venv)
      file(GLOB in_venv "${venv}/lib/python3*/site-packages/torch")
      list(APPEND candidates ${in_venv})
    endif()
  endif()

  set(reasons "")
  foreach(candidate IN LISTS candidates)
    get_filename_component(candidate "${candidate}" REALPATH)
    blockwise_inspect_torch("${candidate}" version problem)
    if(NOT problem)
      set(${root_out} "${candidate}" PARENT_SCOPE)
      set(${version_out} "${version}" PARENT_SCOPE)
      return()
    endif()
    string(APPEND reasons "\n  ${candidate}: ${problem}")
  endforeach()
  if(explicit)
    message(FATAL_ERROR "Torch_DIR=${explicit} leads to no usable LibTorch:${reasons}")
  endif()
endfunction()

if(CMAKE_SCRIPT_MODE_FILE STREQUAL CMAKE_CURRENT_LIST_FILE)
  blockwise_locate_torch("" root version)
  if(NOT root)
    message(FATAL_ERROR "Neither Torch_DIR nor CMAKE_PREFIX_PATH leads to a LibTorch.")
  endif()
  message(STATUS "LibTorch ${version} in ${root}")
endif()
