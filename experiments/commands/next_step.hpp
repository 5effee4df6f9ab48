// What to type after a search: the command that trains with what it found.
#pragma once

#include <string>
#include <vector>

namespace blockwise {

// What the search was about: a file, or without one a run (see run_source.hpp), and what it was
// told by --set.
struct SearchSubject {
  std::string config;
  std::string model;
  std::vector<std::string> assignments = {};
};

// "blockwise train CONFIG --output FOLDER --set SETTING ..." for settings of the form key=value, as
// a shell reads it. Settings of the search's own call that say what is trained come first. What was
// found is trained beside the run, in a folder RUN-found. A file with a section `sweep` is not
// trained by itself: there the settings go into one of its groups.
// Throws InputError where the file cannot be read.
std::string next_step(const SearchSubject& subject, const std::vector<std::string>& found);

}  // namespace blockwise
