# One target carries the warnings and sanitizers; every target of ours links it privately.
add_library(blockwise_warnings INTERFACE)
target_compile_options(blockwise_warnings INTERFACE -Wall -Wextra -Wpedantic -Wshadow
                       -Wno-missing-field-initializers)
if(CMAKE_UNITY_BUILD AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # What GCC inlines in larger files makes it take sums of std::strings for reads beyond their ends
  # (its bug 105651).
  target_compile_options(blockwise_warnings INTERFACE -Wno-array-bounds -Wno-restrict)
endif()
if(BLOCKWISE_WERROR)
  target_compile_options(blockwise_warnings INTERFACE -Werror)
endif()
if(BLOCKWISE_SANITIZE)
  target_compile_options(blockwise_warnings INTERFACE -fsanitize=${BLOCKWISE_SANITIZE}
                         -fno-omit-frame-pointer)
  target_link_options(blockwise_warnings INTERFACE -fsanitize=${BLOCKWISE_SANITIZE})
endif()
