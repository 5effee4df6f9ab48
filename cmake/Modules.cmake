# blockwise_module(NAME folder-relative globs; LINK public libraries...): one static library per top
# folder. The glob is what makes "adding an optimizer is one file and one line" true.
function(blockwise_module name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LINK" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${ARG_SOURCES})
  add_library(${name} STATIC ${sources})
  target_include_directories(${name} PUBLIC ${CMAKE_SOURCE_DIR})
  target_link_libraries(${name} PUBLIC ${ARG_LINK} PRIVATE blockwise_warnings)
  set_target_properties(${name} PROPERTIES POSITION_INDEPENDENT_CODE ON)
  blockwise_unity_groups(${name})
endfunction()
