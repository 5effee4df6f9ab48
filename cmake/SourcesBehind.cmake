# blockwise_sources_behind(OUT FILE...): the sources of ours that these files need, found by what
# they include, for programs that build a few files instead of whole modules.
#
# Behind x.hpp stand x.cpp, every x_*.cpp that has no header of its own, and the registry.cpp of a
# folder below that makes what x.hpp declares; behind a registry.inc stands every source of the
# folder whose parts it lists.
function(blockwise_sources_behind out)
  set(todo ${ARGN})
  set(seen "")
  while(todo)
    list(POP_FRONT todo file)
    if(file IN_LIST seen)
      continue()
    endif()
    list(APPEND seen ${file})
    file(STRINGS ${file} lines REGEX "^#include \"")
    foreach(line ${lines})
      string(REGEX REPLACE "^#include \"([^\"]+)\".*" "${CMAKE_SOURCE_DIR}/\\1" included "${line}")
      if(EXISTS ${included})
        blockwise_files_behind(${included} more)
        list(APPEND todo ${included} ${more})
      endif()
    endforeach()
  endwhile()
  list(FILTER seen EXCLUDE REGEX "\\.(hpp|inc)$")
  list(REMOVE_ITEM seen ${ARGN})
  set(${out} ${seen} PARENT_SCOPE)
endfunction()

function(blockwise_files_behind file out)
  get_filename_component(folder ${file} DIRECTORY)
  get_filename_component(name ${file} NAME_WE)
  set(files "")
  if(file MATCHES "registry\\.inc$")
    file(GLOB files ${folder}/*.cpp ${folder}/rules/*.cpp ${folder}/codecs/*.cpp)
  elseif(file MATCHES "\\.hpp$")
    file(GLOB files ${folder}/${name}.cpp ${folder}/${name}_*.cpp)
    foreach(source ${files})
      string(REGEX REPLACE "\\.cpp$" ".hpp" header ${source})
      if(EXISTS ${header} AND NOT header STREQUAL file)
        list(REMOVE_ITEM files ${source})
      endif()
    endforeach()
    file(RELATIVE_PATH path ${CMAKE_SOURCE_DIR} ${file})
    file(GLOB registries ${folder}/*/registry.cpp)
    foreach(source ${registries})
      file(STRINGS ${source} first REGEX "^#include \"" LIMIT_COUNT 1)
      if(first STREQUAL "#include \"${path}\"")
        list(APPEND files ${source})
      endif()
    endforeach()
  endif()
  set(${out} ${files} PARENT_SCOPE)
endfunction()

# blockwise_library_behind(NAME FILE...): those sources as a static library, without their kernels'
# OpenMP.
function(blockwise_library_behind name)
  blockwise_sources_behind(sources ${ARGN})
  # What the build records, which no header of ours is in front of.
  add_library(${name} STATIC ${sources} ${CMAKE_BINARY_DIR}/generated/experiments/python_path.cpp)
  target_include_directories(${name} PUBLIC ${CMAKE_SOURCE_DIR}
                             PRIVATE ${CMAKE_BINARY_DIR}/generated)
  target_compile_options(${name} PUBLIC -Wno-unknown-pragmas)
  target_link_libraries(${name}
                        PUBLIC blockwise_torch blockwise_hdf5 yaml-cpp fmt::fmt Eigen3::Eigen
                               Boost::headers nlohmann_json::nlohmann_json OpenSSL::Crypto
                               spdlog::spdlog CLI11::CLI11 ${BLOCKWISE_HIGHWAY_LIBRARY}
                               blockwise_of_devices
                        PRIVATE blockwise_warnings)
  target_precompile_headers(${name} PRIVATE <ATen/ATen.h> <torch/csrc/autograd/variable.h>
                            <torch/csrc/autograd/autograd.h> <fmt/format.h> <string> <vector>)
  # Kernels compile themselves for every vector width.
  list(FILTER sources INCLUDE REGEX "/kernels/")
  set_source_files_properties(${sources} PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON)
  blockwise_unity_groups(${name})
endfunction()
