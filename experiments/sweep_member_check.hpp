// Whether a member of a sweep is what the manifest says it is.
#pragma once

#include <string>

#include "experiments/sweep_manifest.hpp"

namespace blockwise {

// Throws InputError naming the member where its config.yaml is not member.yaml (what to_yaml() made
// of its configuration) any more; says what is different. Device, threads and checkpoints may be.
void check_member_config(const SweepManifest& sweep, const SweepMember& member);

// Throws InputError naming the member where its run file is of another configuration. A member
// without one, or with one that cannot be read, passes: that is said where it is read.
void check_member_run(const SweepManifest& sweep, const SweepMember& member);

// Throws InputError naming the member, and what is different, where an earlier manifest has it with
// the hash `before` and it is another by now. An empty hash passes: it comes from a manifest that
// has none.
void check_member_same(const SweepManifest& sweep, const SweepMember& member,
                       const std::string& before);

}  // namespace blockwise
