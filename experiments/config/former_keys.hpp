// Keys that have moved: those of before stay readable everywhere a key is read (YAML files, --set,
// sweeps, run folders, run files), and are what hashes of configurations are made of.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace blockwise {

struct FormerKey {
  std::string_view former, now;  // dotted paths: "hessian.lanczos_steps", "hessian.lanczos.steps"
};

// Of the section `hessian`, all its keys, also those that stayed, in the order of before.
const std::vector<FormerKey>& hessian_keys();
// A section that has another name now, with all its keys.
inline constexpr FormerKey kRenamedSection = {"hessian.blocks", "hessian.parts"};

// The key that a path is now; itself where it has not moved.
std::string present_key(const std::string& path);
// "x.yaml:3:5: hessian.lanczos_steps is now hessian.lanczos.steps"
std::string moved_text(const std::string& place, const std::string& former);

}  // namespace blockwise
