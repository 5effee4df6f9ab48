#include "experiments/sweeps/sweep_changes.hpp"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>

namespace blockwise {
namespace {

using Run = MemberChange::Run;

struct Alike {
  std::string keys;
  std::array<std::int64_t, 3> members{};  // by MemberChange::Run
};

std::string counted(std::int64_t count, const char* one, const char* many) {
  return fmt::format("{} {}", count, count == 1 ? one : many);
}

std::string members_text(const Alike& alike) {
  const auto of = [&](Run run) { return alike.members[static_cast<std::size_t>(run)]; };
  std::vector<std::string> parts;
  if (of(Run::has_ended) > 0) {
    parts.push_back(counted(of(Run::has_ended), "member has ended and stays as it is",
                            "members have ended and stay as they are"));
  }
  if (of(Run::goes_on) > 0) {
    parts.push_back(counted(of(Run::goes_on), "member goes on with it", "members go on with it"));
  }
  if (of(Run::not_begun) > 0) {
    parts.push_back(counted(of(Run::not_begun), "member has not begun", "members have not begun"));
  }
  return fmt::format("{}", fmt::join(parts, ", "));
}

// Where the folder is, and what it is called, every member has its own of.
std::string keys_text(const MemberChange& change) {
  auto keys = change.keys;
  std::erase_if(keys, [](const auto& one) { return one.key == "output" || one.key == "name"; });
  return keys.empty() ? "the sweep's folder is another one than it was" : differences_text(keys);
}

}  // namespace

std::vector<std::string> change_notes(const std::vector<MemberChange>& changed) {
  std::vector<Alike> found;
  const MemberChange* with_note = nullptr;
  for (const auto& change : changed) {
    const auto keys = keys_text(change);
    auto alike = std::ranges::find(found, keys, &Alike::keys);
    if (alike == found.end()) alike = found.insert(found.end(), {keys, {}});
    ++alike->members[static_cast<std::size_t>(change.run)];
    if (with_note == nullptr && !change.rates_note.empty()) with_note = &change;
  }
  std::vector<std::string> notes;
  for (const auto& alike : found) {
    notes.push_back(fmt::format("{}: {}", alike.keys, members_text(alike)));
  }
  if (with_note != nullptr) {
    notes.push_back(fmt::format("{}: {}", with_note->id, with_note->rates_note));
  }
  return notes;
}

}  // namespace blockwise
