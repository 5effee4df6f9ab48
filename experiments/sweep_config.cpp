#include "experiments/sweep_config.hpp"

#include <cmath>
#include <set>

#include "core/error.hpp"
#include "core/random_stream.hpp"

namespace blockwise {
namespace {

using Assignments = std::vector<std::pair<std::string, std::string>>;

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

std::string draw(const ParameterDomain& domain, std::uint64_t bits) {
  if (!domain.values.empty()) return domain.values[bits % domain.values.size()];
  const double u = static_cast<double>(bits >> 11) * 0x1.0p-53;
  if (domain.distribution == "int_uniform") {
    const auto span = static_cast<std::uint64_t>(domain.max - domain.min) + 1;
    return fmt::format(
        "{}", static_cast<std::int64_t>(domain.min) + static_cast<std::int64_t>(bits % span));
  }
  if (domain.distribution == "log_uniform_values") {
    return fmt::format("{:.6g}", domain.min * std::pow(domain.max / domain.min, u));
  }
  return fmt::format("{:.6g}", domain.min + u * (domain.max - domain.min));
}

std::vector<Assignments> random_points(const std::vector<ParameterDomain>& domains,
                                       std::int64_t count) {
  std::vector<Assignments> points;
  for (std::int64_t i = 0; i < count; ++i) {
    auto& point = points.emplace_back();
    for (std::size_t j = 0; j < domains.size(); ++j) {
      point.emplace_back(domains[j].path,
                         draw(domains[j], stream_seed(0, RandomStream::probe, i, j)));
    }
  }
  return points;
}

// Last part of a key, shortened where the field has a usual abbreviation.
std::string short_name(const std::string& path) {
  const auto last = path.substr(path.rfind('.') + 1);
  if (last == "learning_rate") return "lr";
  if (last == "weight_decay") return "wd";
  return last;
}

std::string folder_name(std::string text) {
  for (char& c : text) {
    const bool safe =
        std::isalnum(static_cast<unsigned char>(c)) || c == '.' || c == '-' || c == '_' || c == '+';
    if (!safe) c = '_';
  }
  return text;
}

std::string member_id(const std::string& group, const Assignments& point, std::int64_t seed) {
  std::string id = group;
  for (const auto& [path, value] : point) id += fmt::format("-{}{}", short_name(path), value);
  return folder_name(fmt::format("{}-s{}", id, seed));
}

}  // namespace

std::vector<MemberPlan> expand(const SweepConfig& sweep) {
  const auto groups =
      sweep.groups.empty() ? std::vector<SweepGroup>{{"run", {}, {}}} : sweep.groups;
  std::vector<MemberPlan> members;
  std::set<std::string> ids;
  for (const auto& group : groups) {
    auto domains = sweep.parameters;
    domains.insert(domains.end(), group.parameters.begin(), group.parameters.end());
    const auto points =
        sweep.method == "grid" ? grid(domains) : random_points(domains, sweep.run_cap);
    for (const auto& point : points) {
      for (const auto seed : sweep.seeds) {
        MemberPlan member{member_id(group.name, point, seed), group.name, seed, group.set};
        member.overrides.insert(member.overrides.end(), point.begin(), point.end());
        require_input(ids.insert(member.id).second, "two members of the sweep are '{}'", member.id);
        members.push_back(std::move(member));
      }
    }
  }
  return members;
}

}  // namespace blockwise
