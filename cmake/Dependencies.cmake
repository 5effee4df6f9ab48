# Everything that the project links, by the names of Debian 12.
find_package(HDF5 REQUIRED COMPONENTS C)
find_package(yaml-cpp CONFIG REQUIRED)
find_package(CLI11 CONFIG REQUIRED)
find_package(fmt CONFIG REQUIRED)
find_package(spdlog CONFIG REQUIRED)
find_package(nlohmann_json CONFIG REQUIRED)
if(POLICY CMP0167)
  cmake_policy(SET CMP0167 NEW)  # Boost's own package file; newer CMakes have no find module
endif()
find_package(Boost 1.74 REQUIRED)
find_package(Eigen3 3.4 CONFIG REQUIRED)  # Spectra lies beside it, without a package file
find_package(OpenSSL REQUIRED COMPONENTS Crypto)
find_library(BLOCKWISE_HIGHWAY_LIBRARY hwy REQUIRED)
include(LibTorch)

add_library(blockwise_hdf5 INTERFACE)
target_include_directories(blockwise_hdf5 SYSTEM INTERFACE ${HDF5_INCLUDE_DIRS})
target_link_libraries(blockwise_hdf5 INTERFACE ${HDF5_C_LIBRARIES})

if(BLOCKWISE_TESTS)
  # 2.13 on Debian 12, 3 on Ubuntu 24.04.
  find_package(Catch2 CONFIG REQUIRED)
endif()
