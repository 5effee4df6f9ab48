#include "experiments/config/sweep_config.hpp"

#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <set>

#include "core/base/error.hpp"
#include "core/base/random_stream.hpp"
#include "core/io/sha256.hpp"
#include "core/text/printable_text.hpp"

namespace blockwise {
namespace {

using Assignments = std::vector<std::pair<std::string, std::string>>;

// ---- points ------------------------------------------------------------------------------------

// One text for one number.
std::string canonical_scalar(std::string_view text) {
  if (text.starts_with('+')) text.remove_prefix(1);
  const auto* end = text.data() + text.size();
  std::int64_t whole = 0;
  const auto integer = std::from_chars(text.data(), end, whole);
  if (integer.ec == std::errc() && integer.ptr == end) return fmt::format("{}", whole);
  double number = 0.0;
  const auto real = std::from_chars(text.data(), end, number);
  if (real.ec != std::errc() || real.ptr != end || !std::isfinite(number)) return std::string(text);
  return fmt::format("{}", number);
}

// The same for a list in one line.
std::string canonical(const std::string& value) {
  if (!value.starts_with('[') || !value.ends_with(']')) return canonical_scalar(value);
  std::string_view rest(value.data() + 1, value.size() - 2);
  std::vector<std::string> items;
  while (!rest.empty()) {
    const auto item = rest.substr(0, rest.find(", "));
    items.push_back(canonical_scalar(item));
    rest.remove_prefix(std::min(rest.size(), item.size() + 2));
  }
  return fmt::format("[{}]", fmt::join(items, ", "));
}

// Equal for equal points.
std::string key_of(const Assignments& point) {
  std::string key;
  for (const auto& [path, value] : point) key += fmt::format("{}={}\n", path, canonical(value));
  return key;
}

std::vector<Assignments> grid(const std::vector<ParameterDomain>& domains) {
  std::vector<Assignments> points = {{}};
  for (const auto& domain : domains) {
    require_input(!domain.values.empty(),
                  "sweep parameter '{}' has a range: method grid needs values", domain.path);
    std::vector<Assignments> longer;
    for (const auto& point : points) {
      for (const auto& value : domain.values) {
        longer.push_back(point);
        longer.back().emplace_back(domain.path, value);
      }
    }
    points = std::move(longer);
  }
  return points;
}

// In whole numbers of 64 bits: their count is 2^64 at most, which is 0 there.
std::string draw_whole(const ParameterDomain& domain, std::uint64_t bits) {
  const auto low = static_cast<std::uint64_t>(domain.whole_min);
  const auto count = static_cast<std::uint64_t>(domain.whole_max) - low + 1;
  return fmt::format("{}", static_cast<std::int64_t>(low + (count == 0 ? bits : bits % count)));
}

std::string draw(const ParameterDomain& domain, std::uint64_t bits) {
  if (!domain.values.empty()) return domain.values[bits % domain.values.size()];
  if (domain.distribution == "int_uniform") return draw_whole(domain, bits);
  const double u = static_cast<double>(bits >> 11) * 0x1.0p-53;
  if (domain.distribution == "log_uniform_values") {
    return fmt::format("{:.6g}", domain.min * std::pow(domain.max / domain.min, u));
  }
  return fmt::format("{:.6g}", domain.min + u * (domain.max - domain.min));
}

// Points that were drawn before are skipped. The bound is far above what any sweep needs whose
// values are about equally likely: all 10,000 of 10,000 points take 100,000 draws.
std::vector<Assignments> random_points(const std::vector<ParameterDomain>& domains,
                                       std::int64_t count, std::int64_t seed) {
  constexpr std::uint64_t kMaxDraws = 1'000'000;
  std::vector<Assignments> points;
  std::set<std::string> seen;
  for (std::uint64_t i = 0; std::ssize(points) < count; ++i) {
    require_input(i < kMaxDraws,
                  "sweep: {} draws gave {} distinct configurations, run_cap asks for {}: lower it, "
                  "or widen the ranges",
                  kMaxDraws, points.size(), count);
    Assignments point;
    for (std::size_t j = 0; j < domains.size(); ++j) {
      const auto bits = stream_seed(static_cast<std::uint64_t>(seed), RandomStream::probe, i, j);
      point.emplace_back(domains[j].path, draw(domains[j], bits));
    }
    if (seen.insert(key_of(point)).second) points.push_back(std::move(point));
  }
  return points;
}

// ---- sizes -------------------------------------------------------------------------------------

std::vector<SweepGroup> groups_of(const SweepConfig& sweep) {
  return sweep.groups.empty() ? std::vector<SweepGroup>{{"run", {}, {}}} : sweep.groups;
}

std::vector<ParameterDomain> domains_of(const SweepConfig& sweep, const SweepGroup& group) {
  auto domains = sweep.parameters;
  domains.insert(domains.end(), group.parameters.begin(), group.parameters.end());
  return domains;
}

// How many values it has; infinity for a range of reals. Sizes are products of many of these: in
// double they cannot overflow into something small.
double distinct_values(const ParameterDomain& domain) {
  if (!domain.values.empty()) {
    std::set<std::string> values;
    for (const auto& value : domain.values) values.insert(canonical(value));
    return static_cast<double>(values.size());
  }
  if (domain.distribution != "int_uniform") return HUGE_VAL;
  return static_cast<double>(domain.whole_max) - static_cast<double>(domain.whole_min) + 1.0;
}

double distinct_points(const std::vector<ParameterDomain>& domains) {
  double points = 1.0;
  for (const auto& domain : domains) points *= distinct_values(domain);
  return points;
}

double grid_points(const std::vector<ParameterDomain>& domains) {
  double points = 1.0;
  for (const auto& domain : domains) points *= static_cast<double>(domain.values.size());
  return points;
}

// ---- members -----------------------------------------------------------------------------------

// Last part of a key, shortened where the field has a usual abbreviation.
std::string short_name(const std::string& path) {
  const auto last = path.substr(path.rfind('.') + 1);
  if (last == "learning_rate") return "lr";
  if (last == "weight_decay") return "wd";
  return last;
}

std::string member_id(const std::string& group, const Assignments& point, std::int64_t seed) {
  std::string id = group;
  for (const auto& [path, value] : point) id += fmt::format("-{}{}", short_name(path), value);
  return member_folder_name(fmt::format("{}-s{}", id, seed));
}

// Collects the members and refuses two of one group that are the same, or have one folder.
class MemberList {
 public:
  void add(MemberPlan member) {
    const auto key = fmt::format("{}\n{}\n{}", member.group, member.seed, key_of(member.overrides));
    const auto [same, is_new] = keys_.emplace(key, member.id);
    require_input(is_new, "sweep: the members '{}' and '{}' are the same configuration",
                  same->second, member.id);
    require_input(ids_.insert(member.id).second, "two members of the sweep are '{}'", member.id);
    members_.push_back(std::move(member));
  }

  std::vector<MemberPlan> take() { return std::move(members_); }

 private:
  std::map<std::string, std::string> keys_;  // to the id
  std::set<std::string> ids_;
  std::vector<MemberPlan> members_;
};

}  // namespace

std::string member_folder_name(std::string text) {
  const auto whole = text;
  for (char& c : text) {
    const bool safe =
        std::isalnum(static_cast<unsigned char>(c)) || c == '.' || c == '-' || c == '_' || c == '+';
    if (!safe) c = '_';
  }
  if (text.size() <= kLongestName) return text;
  constexpr std::size_t kDigits = 16;
  return text.substr(0, kLongestName - kDigits - 1) + "-" + sha256(whole).substr(0, kDigits);
}

std::string size_problem(const SweepConfig& sweep) {
  const bool is_grid = sweep.method == "grid";
  double members = 0.0;
  for (const auto& group : groups_of(sweep)) {
    const auto domains = domains_of(sweep, group);
    const auto run_cap = static_cast<double>(sweep.run_cap);
    members += (is_grid ? grid_points(domains) : run_cap) * static_cast<double>(sweep.seeds.size());
    const auto distinct = distinct_points(domains);
    if (!is_grid && run_cap > distinct) {
      return fmt::format("run_cap is {}, group '{}' has {:.0f} distinct configurations",
                         sweep.run_cap, group.name, distinct);
    }
  }
  if (members <= static_cast<double>(kMaxMembers)) return "";
  return fmt::format("configurations times seeds are {:.6g} members, at most {} are allowed",
                     members, kMaxMembers);
}

std::vector<MemberPlan> expand(const SweepConfig& sweep) {
  const auto problem = size_problem(sweep);
  require_input(problem.empty(), "sweep: {}", problem);
  MemberList members;
  for (const auto& group : groups_of(sweep)) {
    const auto domains = domains_of(sweep, group);
    const auto points =
        sweep.method == "grid" ? grid(domains) : random_points(domains, sweep.run_cap, sweep.seed);
    for (const auto& point : points) {
      for (const auto seed : sweep.seeds) {
        MemberPlan member{member_id(group.name, point, seed), group.name, seed, group.set};
        member.overrides.insert(member.overrides.end(), point.begin(), point.end());
        members.add(std::move(member));
      }
    }
  }
  return members.take();
}

}  // namespace blockwise
