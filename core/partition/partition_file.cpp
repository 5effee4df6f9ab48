#include "core/partition/partition_file.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>

#include "core/base/error.hpp"
#include "core/io/sha256.hpp"
#include "core/partition/tensor_file.hpp"

namespace blockwise {
namespace {

constexpr const char* kPartitionFormat = "blockwise-partition";
constexpr std::int64_t kPartitionVersion = 2;
constexpr std::int64_t kLargestNumber = std::numeric_limits<std::int32_t>::max();
constexpr std::int64_t kVersionWithoutRoles = 1;  // whose hash does not cover them

std::string shape_text(const Parameter& parameter) {
  return fmt::format("[{}]", fmt::join(parameter.shape, ", "));
}

// "0*12 1*4"
std::string label_text(const std::vector<std::int32_t>& labels) {
  std::string out;
  for (std::size_t i = 0; i < labels.size();) {
    auto end = i;
    while (end < labels.size() && labels[end] == labels[i]) ++end;
    out += fmt::format("{}{}*{}", out.empty() ? "" : " ", labels[i], end - i);
    i = end;
  }
  return out;
}

std::string structure_text(const Structure& s) {
  const std::string name(structure_name(s.kind));
  switch (s.kind) {
    case Structure::Kind::elements:
      return name;
    case Structure::Kind::tiles:
    case Structure::Kind::none:
      return fmt::format("{}, tile: [{}, {}]", name, s.tile_rows, s.tile_columns);
    case Structure::Kind::factored:
      return fmt::format("{}, group: {}", name, s.tile_rows);
    case Structure::Kind::labels:
      return fmt::format("{}, labels: \"{}\"", name, label_text(s.labels));
  }
  return name;
}

std::string merged_text(const PartitionSection& section) {
  return section.merged < 0 ? "" : fmt::format(", merged: {}", section.merged);
}

std::string section_text(const PartitionSection& section, const Evidence& evidence) {
  std::string out =
      fmt::format("      - {{rows: [{}, {}], role: {}, rule: {}, structure: {}{}",
                  section.row_begin, section.row_begin + section.rows, role_name(section.role),
                  yaml_word(section.rule), structure_text(section.structure), merged_text(section));
  if (!evidence.empty()) {
    std::string numbers;
    for (const auto& [key, value] : evidence) {
      if (!std::isfinite(value)) continue;
      numbers += fmt::format("{}{}: {:.6g}", numbers.empty() ? "" : ", ", yaml_word(key), value);
    }
    out += fmt::format(",\n         evidence: {{{}}}", numbers);
  }
  return out + "}\n";
}

std::string hash_of(const ParameterLayout& layout, const std::vector<TensorPartition>& tensors,
                    bool with_roles) {
  std::string text;
  for (std::size_t i = 0; i < layout.parameters().size(); ++i) {
    text += fmt::format("{} {}\n", layout.parameters()[i].name, shape_text(layout.parameters()[i]));
    for (const auto& s : tensors[i].sections) {
      text += fmt::format("{} {} ", s.row_begin, s.rows);
      if (with_roles) text += fmt::format("{} ", role_name(s.role));
      text += fmt::format("{}{}\n", structure_text(s.structure), merged_text(s));
    }
  }
  return sha256(text);
}

}  // namespace

std::string partition_hash(const ParameterLayout& layout, const Partition& partition) {
  return hash_of(layout, partition.tensors(), true);
}

std::string partition_hash_without_roles(const ParameterLayout& layout,
                                         const Partition& partition) {
  return hash_of(layout, partition.tensors(), false);
}

std::string partition_text(const ParameterLayout& layout, const PartitionFile& file) {
  std::string out = fmt::format(
      "# Which elements of every parameter tensor share one second moment.\n"
      "format: {}\nversion: {}\nhash: {}\nmodel: {{parameters: {}, tensors: {}}}\n",
      kPartitionFormat, kPartitionVersion, partition_hash(layout, file.partition), layout.size(),
      layout.parameters().size());
  out += provenance_text(file.provenance);
  out += "tensors:\n";
  for (std::size_t i = 0; i < layout.parameters().size(); ++i) {
    const auto& parameter = layout.parameters()[i];
    out += fmt::format("  - name: {}\n    shape: {}\n    sections:\n", quoted_yaml(parameter.name),
                       shape_text(parameter));
    const auto& sections = file.partition.tensors()[i].sections;
    for (std::size_t s = 0; s < sections.size(); ++s) {
      const bool known = i < file.evidence.size() && s < file.evidence[i].size();
      out += section_text(sections[s], known ? file.evidence[i][s] : Evidence{});
    }
  }
  return out;
}

// ---- reading ------------------------------------------------------------------------------------

namespace {

class PartitionReader : private TensorFileReader {
 public:
  PartitionReader(const std::filesystem::path& path, const ParameterLayout& layout)
      : TensorFileReader(path, "partition file", kPartitionFormat, kPartitionVersion, layout) {}

  PartitionFile read() {
    require_keys(root(), {"format", "version", "hash", "model", "provenance", "tensors"});
    std::vector<TensorPartition> tensors(layout().parameters().size());
    evidence_.resize(tensors.size());
    for_each_tensor([&](const YAML::Node& node, std::size_t place) {
      tensors[place] = read_tensor(node, place);
    });
    check_model();
    const auto content = hash_of(layout(), tensors, version() > kVersionWithoutRoles);
    PartitionFile file;
    file.evidence = std::move(evidence_);
    file.provenance = provenance();
    file.partition = make_partition(std::move(tensors));
    file.hash = partition_hash(layout(), file.partition);
    check_hash(content);
    return file;
  }

 private:
  void check_model() const {
    if (!has(root(), "model")) return;
    const auto model = child(root(), "model");
    require_keys(model, {"parameters", "tensors"});
    const auto check = [&](const char* key, std::int64_t ours) {
      if (!has(model, key)) return;
      const auto theirs = number(model, key, {});
      require(model, theirs == ours,
              fmt::format("a partition of a model with {} {}, this one has {}", theirs, key, ours));
    };
    check("parameters", layout().size());
    check("tensors", std::ssize(layout().parameters()));
  }

  // `content` is the hash of what stands in the file, not of what is made of it.
  void check_hash(const std::string& content) const {
    if (!has(root(), "hash")) return;
    require(root(), text(root(), "hash") == content,
            "its content is not what its hash says: drop the line 'hash' where it was changed on "
            "purpose");
  }

  TensorPartition read_tensor(const YAML::Node& node, std::size_t place) {
    const auto& parameter = layout().parameters()[place];
    require_keys(node, {"name", "shape", "sections"});
    const auto shape = numbers(node, "shape", 0, {});
    require(
        node, shape == parameter.shape,
        fmt::format("tensor '{}' has the shape [{}], the model's has {}: a partition of another "
                    "model",
                    parameter.name, fmt::join(shape, ", "), shape_text(parameter)));
    TensorPartition tensor;
    std::int64_t next = 0;
    for (const auto& part : list(node, "sections")) {
      tensor.sections.push_back(read_section(part, parameter, next));
      next += tensor.sections.back().rows;
      evidence_[place].push_back(read_evidence(part));
    }
    require(node, next == parameter.rows(),
            fmt::format("tensor '{}': the sections end at row {} of {}", parameter.name, next,
                        parameter.rows()));
    return tensor;
  }

  PartitionSection read_section(const YAML::Node& node, const Parameter& parameter,
                                std::int64_t next) const {
    require_keys(node, {"rows", "role", "rule", "structure", "tile", "group", "labels", "merged",
                        "evidence"});
    const auto rows = numbers(node, "rows", 2, {});
    const auto range = fmt::format("tensor '{}': rows [{}, {}]", parameter.name, rows[0], rows[1]);
    require(node, rows[0] >= next,
            range + fmt::format(" overlap the ones before, {} is next", next));
    require(node, rows[0] == next, range + fmt::format(" leave a gap, {} is next", next));
    require(node, rows[1] > rows[0] && rows[1] <= parameter.rows(),
            range + fmt::format(" of {}", parameter.rows()));
    PartitionSection section;
    section.rule = has(node, "rule") ? text(node, "rule") : "file";
    section.row_begin = rows[0];
    section.rows = rows[1] - rows[0];
    section.columns = parameter.columns();
    section.role = read_role(node, parameter, section);
    section.structure = read_structure(node, parameter.name, section.size());
    if (has(node, "merged")) section.merged = number(node, "merged", {0, kLargestNumber});
    return section;
  }

  // Rules go by the role, so it is the model's: that of the fused section which the rows lie in, or
  // that of the whole tensor.
  ParameterRole read_role(const YAML::Node& node, const Parameter& parameter,
                          const PartitionSection& section) const {
    const auto name = text(node, "role");
    std::vector<std::string> allowed = {std::string(role_name(parameter.role))};
    std::int64_t begin = 0;
    for (const auto& fused : parameter.sections) {
      const bool inside =
          begin <= section.row_begin && section.row_begin + section.rows <= begin + fused.rows;
      if (inside) allowed.emplace_back(role_name(fused.role));
      begin += fused.rows;
    }
    require(node, std::ranges::count(allowed, name) > 0,
            fmt::format("tensor '{}': the role of rows [{}, {}] is '{}', in the model it is {}",
                        parameter.name, section.row_begin, section.row_begin + section.rows, name,
                        fmt::join(allowed, " or ")));
    return role_from_name(name);
  }

  Structure read_structure(const YAML::Node& node, const std::string& tensor,
                           std::int64_t elements) const {
    const auto name = text(node, "structure");
    if (name == "elements") return Structure::per_element();
    if (name == "tiles") {
      const auto tile = numbers(node, "tile", 2, {1, kLargestNumber});
      return Structure::tiles(tile[0], tile[1]);
    }
    if (name == "none") {
      const auto tile = numbers(node, "tile", 2, {1, kLargestNumber});
      return Structure::none(tile[0], tile[1]);
    }
    if (name == "factored") return Structure::factored(number(node, "group", {1, kLargestNumber}));
    require(node, name == "labels",
            fmt::format("tensor '{}': '{}' is none of elements, tiles, factored, labels, none",
                        tensor, name));
    return Structure::from_labels(read_labels(node, text(node, "labels"), tensor, elements));
  }

  // The runs say how many labels there are; no more than elements are ever held.
  std::vector<std::int32_t> read_labels(const YAML::Node& node, const std::string& runs,
                                        const std::string& tensor, std::int64_t elements) const {
    std::vector<std::int32_t> labels;
    const char* at = runs.data();
    const char* end = at + runs.size();
    while (at != end) {
      std::int64_t label = 0, count = 0;
      const auto first = std::from_chars(at, end, label);
      const bool star = first.ec == std::errc() && first.ptr != end && *first.ptr == '*';
      const auto second = star ? std::from_chars(first.ptr + 1, end, count) : first;
      require(node, star && second.ec == std::errc() && count > 0,
              fmt::format("labels: '{}' is not NUMBER*REPETITIONS",
                          runs.substr(static_cast<std::size_t>(at - runs.data()), 40)));
      require(node, label >= 0 && label < std::min(elements, kLargestNumber),
              fmt::format("tensor '{}': label {} of {} elements", tensor, label, elements));
      require(node, count <= elements - std::ssize(labels),
              fmt::format("tensor '{}': more labels than its {} elements", tensor, elements));
      labels.insert(labels.end(), static_cast<std::size_t>(count),
                    static_cast<std::int32_t>(label));
      at = second.ptr;
      while (at != end && *at == ' ') ++at;
    }
    return labels;
  }

  Evidence read_evidence(const YAML::Node& node) const {
    Evidence evidence;
    for (const auto& [key, word] : texts(node, "evidence")) {
      evidence.emplace_back(key, real(node, "evidence." + key, word));
    }
    return evidence;
  }

  Partition make_partition(std::vector<TensorPartition> tensors) const {
    try {
      return Partition(layout(), fmt::format("file {}", path().string()), std::move(tensors));
    } catch (const InputError& error) {
      throw InputError(fmt::format("{}: {}", path().string(), error.what()));
    }
  }

  std::vector<std::vector<Evidence>> evidence_;
};

}  // namespace

PartitionFile read_partition(const std::filesystem::path& path, const ParameterLayout& layout) {
  return PartitionReader(path, layout).read();
}

}  // namespace blockwise
