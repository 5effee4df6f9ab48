# With -DCMAKE_UNITY_BUILD=ON, as the Makefile builds: most of a file's time goes into LibTorch's
# headers and templates, and one compiler's run for several files pays for them once.
set(BLOCKWISE_FILES_AT_ONCE 6)

# Puts the target's sources into groups whose local names do not meet.
function(blockwise_unity_groups target)
  if(NOT CMAKE_UNITY_BUILD)
    return()
  endif()
  get_target_property(sources ${target} SOURCES)
  list(FILTER sources INCLUDE REGEX "\\.cpp$")
  list(TRANSFORM sources PREPEND "${CMAKE_CURRENT_SOURCE_DIR}/" REGEX "^[^/]")
  execute_process(COMMAND ${BLOCKWISE_PYTHON} ${CMAKE_SOURCE_DIR}/cmake/unity_groups.py
                          ${BLOCKWISE_FILES_AT_ONCE} ${sources}
                  OUTPUT_VARIABLE lines OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
  string(REPLACE "\n" ";" lines "${lines}")
  foreach(line IN LISTS lines)
    string(REGEX MATCH "^([0-9]+) (.*)$" line "${line}")
    set_source_files_properties(${CMAKE_MATCH_2} PROPERTIES UNITY_GROUP group_${CMAKE_MATCH_1})
  endforeach()
  set_target_properties(${target} PROPERTIES UNITY_BUILD_MODE GROUP)
endfunction()
