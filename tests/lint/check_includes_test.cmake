# Plants violations of every include rule in a temporary tree and demands that the check names each
# with its line, and that it passes a tree with what is allowed.
#   cmake [-D WORK=<folder for the tree>] -P tests/lint/check_includes_test.cmake
cmake_minimum_required(VERSION 3.22)
get_filename_component(checkout ${CMAKE_CURRENT_LIST_DIR}/../.. ABSOLUTE)
if(NOT WORK)
  set(WORK ${checkout}/build/check_includes_test)
endif()
set(tree ${WORK}/tree)
set(failures 0)

# run_check(INCLUDER INCLUDE): writes one file into a fresh tree and runs the check on it.
function(run_check includer include)
  file(REMOVE_RECURSE ${tree})
  file(WRITE ${tree}/core/error.hpp "#pragma once\n")
  file(WRITE ${tree}/core/io/beside.hpp "#pragma once\n")
  # A semicolon and brackets, which are special to CMake, stand before the line that matters.
  file(WRITE ${tree}/${includer} "#include <vector>\nint a[2] = {}; // [;\n\n#  include ${include}\n")
  execute_process(COMMAND ${CMAKE_COMMAND} -D ROOT=${tree} -P ${checkout}/cmake/check_includes.cmake
                  RESULT_VARIABLE result OUTPUT_VARIABLE output ERROR_VARIABLE output)
  set(result ${result} PARENT_SCOPE)
  set(output "${output}" PARENT_SCOPE)
endfunction()

macro(count_failure)
  math(EXPR failures "${failures} + 1")
  message(NOTICE "${ARGV}\n${output}")
endmacro()

# expect_broken(INCLUDER INCLUDE WORDS): the check fails and says INCLUDER:4 and WORDS of the rule.
macro(expect_broken includer include words)
  run_check(${includer} "${include}")
  if(result EQUAL 0)
    count_failure("passed, but must not: ${includer} includes ${include}")
  elseif(NOT "${output}" MATCHES "${includer}:4: [^\n]*${words}")
    count_failure("wrong message for: ${includer} includes ${include}")
  endif()
endmacro()

macro(expect_allowed includer include)
  run_check(${includer} "${include}")
  if(NOT result EQUAL 0)
    count_failure("failed, but must pass: ${includer} includes ${include}")
  endif()
endmacro()

expect_broken(core/a.cpp "\"hessian/b.hpp\"" "core/ may include")
expect_broken(core/a.hpp "\"optimizers/b.hpp\"" "core/ may include")
expect_broken(core/models/a.cpp "\"experiments/b.hpp\"" "core/ may include")
expect_broken(hessian/a.cpp "\"optimizers/b.hpp\"" "hessian/ may include")
expect_broken(hessian/a.cpp "<experiments/b.hpp>" "hessian/ may include")
expect_broken(optimizers/rules/a.cpp "\"hessian/b.hpp\"" "optimizers/ may include")
expect_broken(optimizers/registry.inc "\"experiments/b.hpp\"" "optimizers/ may include")
expect_broken(experiments/a.cpp "\"tests/b.hpp\"" "experiments/ may include")
expect_broken(core/a.cpp "\"../hessian/b.hpp\"" "path from the root")
expect_broken(core/io/a.cpp "\"beside.hpp\"" "path from the root")
expect_broken(core/a.cpp "<Eigen/Dense>" "Eigen and Spectra")
expect_broken(experiments/a.cpp "<Spectra/SymEigsSolver.h>" "Eigen and Spectra")
expect_broken(experiments/a.cpp "<yaml-cpp/yaml.h>" "yaml-cpp")
expect_broken(tests/experiments/a.cpp "<yaml-cpp/yaml.h>" "yaml-cpp")
expect_broken(experiments/records/run_recorder.cpp "<hdf5.h>" "HDF5")
expect_broken(core/a.cpp "<hwy/highway.h>" "Highway")
expect_broken(core/a.cpp "<cuda_runtime.h>" "CUDA belongs")
expect_broken(core/memory/device.cpp "<c10/cuda/CUDAStream.h>" "toolkit")
expect_broken(optimizers/rules/a.cpp "<torch/nn/module.h>" "autograd and modules")
expect_broken(hessian/a.cpp "<torch/csrc/autograd/autograd.h>" "autograd and modules")
expect_broken(optimizers/kernels/adam_cpu.cpp "<ATen/ATen.h>" "no LibTorch")
expect_broken(optimizers/kernels/adam.hpp "<c10/core/Device.h>" "no LibTorch")
expect_broken(optimizers/kernels/adam_cuda.cu "<torch/types.h>" "no LibTorch")
expect_broken(core/a.cpp "<boost/math/distributions.hpp>" "Boost")

expect_allowed(core/a.cpp "\"core/base/error.hpp\"")
expect_allowed(core/io/hdf5_file.cpp "<hdf5.h>")
expect_allowed(core/a.cpp "<torch/csrc/autograd/autograd.h>")
expect_allowed(hessian/a.cpp "<Eigen/Dense>")
expect_allowed(optimizers/a.cpp "<ATen/ATen.h>")
expect_allowed(optimizers/kernels/adam_cpu.cpp "<hwy/highway.h>")
expect_allowed(optimizers/kernels/adam_cuda.cu "<cuda_runtime.h>")
expect_allowed(experiments/a.cpp "\"hessian/b.hpp\"")
expect_allowed(experiments/config/yaml_tree.hpp "<yaml-cpp/yaml.h>")
expect_allowed(core/text/yaml_text.cpp "<yaml-cpp/eventhandler.h>")
expect_broken(experiments/sweeps/report.cpp "<boost/math/distributions.hpp>" "core/base/statistics")
expect_allowed(core/base/statistics.cpp "<boost/math/distributions.hpp>")
expect_allowed(tests/core/a.cpp "\"experiments/b.hpp\"")

# Wings of experiments/.
expect_broken(experiments/records/a.cpp "\"experiments/config/b.hpp\"" "experiments/records/ may include")
expect_broken(experiments/config/a.hpp "\"experiments/training/b.hpp\"" "may include of the other wings only records")
expect_broken(experiments/rates/a.cpp "\"experiments/partitions/b.hpp\"" "experiments/rates/ may include")
expect_broken(experiments/tower/a.cpp "\"experiments/records/b.hpp\"" "is no wing")
expect_allowed(experiments/sweeps/a.cpp "\"experiments/training/b.hpp\"")
expect_allowed(experiments/commands/a.cpp "\"experiments/rates/b.hpp\"")

# expect_cycle(WORDS FOLDER HEADER ...): files x.hpp of the folders that include the headers are a
# cycle, of which the check says WORDS.
function(expect_cycle words)
  file(REMOVE_RECURSE ${tree})
  set(plants ${ARGN})
  while(plants)
    list(POP_FRONT plants folder header)
    file(WRITE ${tree}/${folder}/x.hpp "#pragma once\n#include \"${header}\"\n")
  endwhile()
  execute_process(COMMAND ${CMAKE_COMMAND} -D ROOT=${tree} -P ${checkout}/cmake/check_includes.cmake
                  RESULT_VARIABLE result OUTPUT_VARIABLE output ERROR_VARIABLE output)
  if(result EQUAL 0 OR NOT "${output}" MATCHES "${words}")
    math(EXPR failures "${failures} + 1")
    set(failures ${failures} PARENT_SCOPE)
    message(NOTICE "no cycle was found in ${ARGN}\n${output}")
  endif()
endfunction()

expect_cycle("core/io/ -> core/text/: core/io/x.hpp includes core/text/x.hpp"
             core/io core/text/x.hpp core/text core/io/x.hpp)
expect_cycle("cycle.*hessian/ -> hessian/evidence/.*hessian/evidence/ -> hessian/inner/"
             hessian hessian/evidence/x.hpp hessian/evidence hessian/inner/x.hpp
             hessian/inner hessian/x.hpp core/a hessian/x.hpp)

file(REMOVE_RECURSE ${tree})
if(failures)
  message(FATAL_ERROR "${failures} expectations of the include check failed")
endif()
message(STATUS "the include check finds every planted violation")
