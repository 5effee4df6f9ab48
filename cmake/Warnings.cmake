# One target carries the warnings and sanitizers; every target of ours links it privately.
add_library(blockwise_warnings INTERFACE)
target_compile_options(blockwise_warnings INTERFACE -Wall -Wextra -Wpedantic -Wshadow
                       -Wno-missing-field-initializers)
if(BLOCKWISE_WERROR)
  target_compile_options(blockwise_warnings INTERFACE -Werror)
endif()
if(BLOCKWISE_SANITIZE)
  target_compile_options(blockwise_warnings INTERFACE -fsanitize=${BLOCKWISE_SANITIZE}
                         -fno-omit-frame-pointer)
  target_link_options(blockwise_warnings INTERFACE -fsanitize=${BLOCKWISE_SANITIZE})
endif()
