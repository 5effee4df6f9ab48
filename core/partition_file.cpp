#include "core/partition_file.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "core/error.hpp"
#include "core/io/sha256.hpp"
#include "core/tensor_file.hpp"

namespace blockwise {
namespace {

constexpr const char* kFormat = "blockwise-partition";
constexpr std::int64_t kVersion = 1;

std::string shape_text(const ParameterBlock& block) {
  return fmt::format("[{}]", fmt::join(block.shape, ", "));
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
                  section.rule, structure_text(section.structure), merged_text(section));
  if (!evidence.empty()) {
    std::string numbers;
    for (const auto& [key, value] : evidence) {
      if (!std::isfinite(value)) continue;
      numbers += fmt::format("{}{}: {:.6g}", numbers.empty() ? "" : ", ", key, value);
    }
    out += fmt::format(",\n         evidence: {{{}}}", numbers);
  }
  return out + "}\n";
}

}  // namespace

std::string partition_hash(const ParameterLayout& layout, const Partition& partition) {
  std::string text;
  for (std::size_t i = 0; i < layout.blocks().size(); ++i) {
    text += fmt::format("{} {}\n", layout.blocks()[i].name, shape_text(layout.blocks()[i]));
    for (const auto& s : partition.tensors()[i].sections) {
      text += fmt::format("{} {} {}{}\n", s.row_begin, s.rows, structure_text(s.structure),
                          merged_text(s));
    }
  }
  return sha256(text);
}

std::string partition_text(const ParameterLayout& layout, const PartitionFile& file) {
  std::string out = fmt::format(
      "# Which elements of every parameter tensor share one second moment.\n"
      "format: {}\nversion: {}\nhash: {}\nmodel: {{parameters: {}, tensors: {}}}\n",
      kFormat, kVersion, partition_hash(layout, file.partition), layout.size(),
      layout.blocks().size());
  out += provenance_text(file.provenance);
  out += "tensors:\n";
  for (std::size_t i = 0; i < layout.blocks().size(); ++i) {
    const auto& block = layout.blocks()[i];
    out += fmt::format("  - name: {}\n    shape: {}\n    sections:\n", quoted_yaml(block.name),
                       shape_text(block));
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
      : TensorFileReader(path, "partition file", kFormat, kVersion), layout_(layout) {}

  PartitionFile read() {
    std::vector<TensorPartition> tensors(layout_.blocks().size());
    evidence_.resize(tensors.size());
    for_each_tensor(layout_, [&](const YAML::Node& node, std::size_t place) {
      tensors[place] = read_tensor(node, place);
    });
    PartitionFile file;
    file.evidence = std::move(evidence_);
    file.provenance = provenance();
    file.partition = make_partition(std::move(tensors));
    file.hash = partition_hash(layout_, file.partition);
    const auto hash = root()["hash"];
    require(root(), !hash || hash.Scalar() == file.hash,
            "its content is not what its hash says: drop the line 'hash' where it was changed on "
            "purpose");
    return file;
  }

 private:
  TensorPartition read_tensor(const YAML::Node& node, std::size_t place) {
    const auto& block = layout_.blocks()[place];
    const auto shape = numbers(node, "shape", 0);
    require(
        node, shape == block.shape,
        fmt::format("tensor '{}' has the shape [{}], the model's has {}: a partition of another "
                    "model",
                    block.name, fmt::join(shape, ", "), shape_text(block)));
    TensorPartition tensor;
    std::int64_t next = 0;
    require(node, node["sections"] && node["sections"].IsSequence(), "'sections' is missing");
    for (const auto& part : node["sections"]) {
      tensor.sections.push_back(read_section(part, block, next));
      next += tensor.sections.back().rows;
      evidence_[place].push_back(read_evidence(part));
    }
    require(node, next == block.rows(),
            fmt::format("tensor '{}': the sections end at row {} of {}", block.name, next,
                        block.rows()));
    return tensor;
  }

  PartitionSection read_section(const YAML::Node& node, const ParameterBlock& block,
                                std::int64_t next) const {
    const auto rows = numbers(node, "rows", 2);
    const auto range = fmt::format("tensor '{}': rows [{}, {}]", block.name, rows[0], rows[1]);
    require(node, rows[0] >= next,
            range + fmt::format(" overlap the ones before, {} is next", next));
    require(node, rows[0] == next, range + fmt::format(" leave a gap, {} is next", next));
    require(node, rows[1] > rows[0] && rows[1] <= block.rows(),
            range + fmt::format(" of {}", block.rows()));
    PartitionSection section;
    section.role = role_from_name(text(node, "role"));
    section.rule = node["rule"] ? node["rule"].Scalar() : "file";
    section.row_begin = rows[0];
    section.rows = rows[1] - rows[0];
    section.columns = block.columns();
    section.structure = read_structure(node, block.name);
    if (node["merged"]) section.merged = number(node, "merged");
    require(
        node, !node["merged"] || section.merged >= 0,
        fmt::format("tensor '{}': merged is {}, must be at least 0", block.name, section.merged));
    return section;
  }

  Structure read_structure(const YAML::Node& node, const std::string& tensor) const {
    const auto name = text(node, "structure");
    if (name == "elements") return Structure::per_element();
    if (name == "tiles") {
      const auto tile = numbers(node, "tile", 2);
      return Structure::tiles(tile[0], tile[1]);
    }
    if (name == "none") {
      const auto tile = numbers(node, "tile", 2);
      return Structure::none(tile[0], tile[1]);
    }
    if (name == "factored") return Structure::factored(number(node, "group"));
    require(node, name == "labels",
            fmt::format("tensor '{}': '{}' is none of elements, tiles, factored, labels, none",
                        tensor, name));
    return Structure::from_labels(read_labels(node, text(node, "labels")));
  }

  std::vector<std::int32_t> read_labels(const YAML::Node& node, const std::string& runs) const {
    std::vector<std::int32_t> labels;
    const char* at = runs.data();
    const char* end = at + runs.size();
    while (at != end) {
      std::int32_t label = 0, count = 0;
      const auto first = std::from_chars(at, end, label);
      const bool star = first.ec == std::errc() && first.ptr != end && *first.ptr == '*';
      const auto second = star ? std::from_chars(first.ptr + 1, end, count) : first;
      require(node, star && second.ec == std::errc() && count > 0,
              fmt::format("labels: '{}' is not NUMBER*REPETITIONS", std::string(at, end)));
      labels.insert(labels.end(), static_cast<std::size_t>(count), label);
      at = second.ptr;
      while (at != end && *at == ' ') ++at;
    }
    return labels;
  }

  Evidence read_evidence(const YAML::Node& node) const {
    Evidence evidence;
    for (const auto& entry : node["evidence"]) {
      evidence.emplace_back(entry.first.Scalar(), entry.second.as<double>());
    }
    return evidence;
  }

  Partition make_partition(std::vector<TensorPartition> tensors) const {
    try {
      return Partition(layout_, fmt::format("file {}", path().string()), std::move(tensors));
    } catch (const InputError& error) {
      throw InputError(fmt::format("{}: {}", path().string(), error.what()));
    }
  }

  const ParameterLayout& layout_;
  std::vector<std::vector<Evidence>> evidence_;
};

}  // namespace

PartitionFile read_partition(const std::filesystem::path& path, const ParameterLayout& layout) {
  return PartitionReader(path, layout).read();
}

}  // namespace blockwise
