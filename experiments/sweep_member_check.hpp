// Whether a member of a sweep is what the manifest says it is.
#pragma once

#include <string>

#include "experiments/sweep_manifest.hpp"

namespace blockwise {

// Throws InputError naming the member where its config.yaml is not the configuration `yaml` (what
// to_yaml() made of it) any more; says what is different. Device, threads and checkpoints may be.
void check_member_config(const SweepManifest& sweep, const SweepMember& member,
                         const std::string& yaml);

// Throws InputError naming the member where its run file is of another configuration. A member
// without one, or with one that cannot be read, passes: that is said where it is read.
void check_member_run(const SweepManifest& sweep, const SweepMember& member);

}  // namespace blockwise
