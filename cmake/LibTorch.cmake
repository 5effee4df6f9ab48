# LibTorch by its files. find_package(Torch) stops on a CUDA build of the wheel where no CUDA
# toolkit is installed, although nothing here includes a CUDA header; looking headers and libraries
# up ourselves serves the CPU wheel and the CUDA wheel, with a toolkit or without one, in one way.
#
# Where: see locate_libtorch.cmake. Nothing of the result is cached, so that another Torch_DIR in
# the same build folder takes effect. Result: the target blockwise_torch.
include(locate_libtorch)
if(NOT Torch_DIR AND DEFINED ENV{Torch_DIR})
  # Kept, so that a build that runs CMake again by itself finds the same one.
  set(Torch_DIR "$ENV{Torch_DIR}" CACHE PATH "LibTorch's folder share/cmake/Torch" FORCE)
endif()
blockwise_locate_torch(${CMAKE_SOURCE_DIR}/.venv torch_root BLOCKWISE_TORCH_VERSION)
if(NOT torch_root)
  message(FATAL_ERROR "LibTorch was not found. Run `make build`, which installs torch==2.13.0 into .venv, "
                      "or point Torch_DIR or CMAKE_PREFIX_PATH to an installed LibTorch (2.11 to 2.15).")
endif()
set(torch_lib ${torch_root}/lib)
set(torch_libraries ${torch_lib}/libtorch_cpu.so ${torch_lib}/libc10.so)
set(torch_kind "CPU")
set(BLOCKWISE_TORCH_ROOT ${torch_root})
set(BLOCKWISE_TORCH_HAS_CUDA OFF)
if(EXISTS ${torch_lib}/libtorch_cuda.so)
  list(APPEND torch_libraries ${torch_lib}/libtorch_cuda.so ${torch_lib}/libc10_cuda.so)
  set(torch_kind "CUDA")
  set(BLOCKWISE_TORCH_HAS_CUDA ON)
endif()

# The wheel carries its own libgomp. A second OpenMP runtime in the process makes threads fight, so
# our kernels compile with -fopenmp and link the wheel's copy, never -lgomp.
file(GLOB BLOCKWISE_LIBGOMP ${torch_lib}/libgomp*.so*)
if(NOT BLOCKWISE_LIBGOMP)
  find_package(OpenMP REQUIRED COMPONENTS CXX)
  set(BLOCKWISE_LIBGOMP ${OpenMP_CXX_LIBRARIES})
endif()

# The wheel's include folder also holds an fmt, which would shadow the one whose library we link; a
# folder with nothing but a link to ours comes before it. The wheel itself comes before the system's
# folders, where a distribution's older LibTorch may lie.
get_target_property(fmt_include fmt::fmt INTERFACE_INCLUDE_DIRECTORIES)
list(GET fmt_include 0 fmt_include)
set(before_torch ${CMAKE_BINARY_DIR}/before_torch)
file(MAKE_DIRECTORY ${before_torch})
file(CREATE_LINK ${fmt_include}/fmt ${before_torch}/fmt SYMBOLIC)

add_library(blockwise_torch INTERFACE)
target_include_directories(blockwise_torch SYSTEM INTERFACE
                           ${before_torch} ${torch_root}/include
                           ${torch_root}/include/torch/csrc/api/include)
# Device kernels register themselves when their library is loaded, so the libraries must stay
# linked although no symbol asks for them. A CUDA wheel names NVIDIA libraries that its own run path
# finds at start; they need not be there to link.
target_link_libraries(blockwise_torch INTERFACE
                      -Wl,--no-as-needed ${torch_libraries} ${BLOCKWISE_LIBGOMP} -Wl,--as-needed
                      -Wl,--allow-shlib-undefined)
message(STATUS "LibTorch ${BLOCKWISE_TORCH_VERSION} (${torch_kind}) in ${torch_lib}")
