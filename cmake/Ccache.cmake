# ccache, when it is there, also for precompiled headers: those need the sloppiness below, and
# -fpch-preprocess so that ccache sees what the header contained.
find_program(BLOCKWISE_CCACHE ccache)
if(BLOCKWISE_CCACHE)
  set(sloppiness "CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime")
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env ${sloppiness} ${BLOCKWISE_CCACHE})
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    add_compile_options($<$<COMPILE_LANGUAGE:CXX>:-fpch-preprocess>)
  endif()
endif()
