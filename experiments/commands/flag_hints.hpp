// Errors of a program that was told everything by flags speak of the configuration's keys, which
// its user has never written: which flag sets them.
#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace blockwise {

struct FlagTable {
  // Keys of the configuration and the flags that set them.
  std::vector<std::pair<std::string, std::string>> keys;
  // What was given, a path, and the flag that gave it.
  std::vector<std::pair<std::string, std::string>> values;
  bool has_set = true;  // whether --set KEY=VALUE sets every other key
};

// The message and behind it the flags of the keys and values that it names, but for flags that it
// names itself.
std::string with_flags(const std::string& message, const FlagTable& flags);

// What `work` returns; an InputError gets those hints.
int run_with_flag_hints(const FlagTable& flags, const std::function<int()>& work);

}  // namespace blockwise
