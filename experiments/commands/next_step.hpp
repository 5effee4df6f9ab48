// What to type after a search: the command that trains with what it found.
#pragma once

#include <string>
#include <vector>

namespace blockwise {

// What the search was about: a file, or without one a run (see run_source.hpp).
struct SearchSubject {
  std::string config;
  std::string model;
};

// "blockwise train CONFIG --set SETTING ..." for settings of the form key=value. A file with a
// section `sweep` is not trained by itself: there the settings go into one of its groups. What was
// found in a run is trained beside it, in RUN-found.
// Throws InputError where the file cannot be read.
std::string next_step(const SearchSubject& subject, const std::vector<std::string>& settings);

}  // namespace blockwise
