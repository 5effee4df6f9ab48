#include "core/partition_file.hpp"

#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "core/error.hpp"
#include "core/io/sha256.hpp"

namespace blockwise {
namespace {

constexpr const char* kFormat = "blockwise-partition";
constexpr std::int64_t kVersion = 1;

std::string shape_text(const ParameterBlock& block) {
  return fmt::format("[{}]", fmt::join(block.shape, ", "));
}

std::string quoted(std::string text) {
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\'') text.insert(i++, 1, '\'');
  }
  return "'" + text + "'";
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
      return fmt::format("{}, tile: [{}, {}]", name, s.tile_rows, s.tile_columns);
    case Structure::Kind::factored:
      return fmt::format("{}, group: {}", name, s.tile_rows);
    case Structure::Kind::labels:
      return fmt::format("{}, labels: \"{}\"", name, label_text(s.labels));
  }
  return name;
}

std::string section_text(const PartitionSection& section, const Evidence& evidence) {
  std::string out =
      fmt::format("      - {{rows: [{}, {}], role: {}, rule: {}, structure: {}", section.row_begin,
                  section.row_begin + section.rows, role_name(section.role), section.rule,
                  structure_text(section.structure));
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
      text += fmt::format("{} {} {}\n", s.row_begin, s.rows, structure_text(s.structure));
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
  out += "provenance:\n";
  for (const auto& [key, value] : file.provenance) {
    out += fmt::format("  {}: {}\n", key, quoted(value));
  }
  out += "tensors:\n";
  for (std::size_t i = 0; i < layout.blocks().size(); ++i) {
    const auto& block = layout.blocks()[i];
    out += fmt::format("  - name: {}\n    shape: {}\n    sections:\n", quoted(block.name),
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

class Reader {
 public:
  Reader(const std::filesystem::path& path, const ParameterLayout& layout)
      : path_(path), layout_(layout) {
    require_input(std::filesystem::is_regular_file(path), "{}: no such partition file",
                  path.string());
    try {
      root_ = YAML::LoadFile(path.string());
    } catch (const YAML::Exception& error) {
      throw InputError(fmt::format("{}:{}: {}", path.string(), error.mark.line + 1, error.msg));
    }
  }

  PartitionFile read() {
    const bool ours = root_.IsMap() && root_["format"] && root_["format"].Scalar() == kFormat;
    require(root_, ours, "not a partition file");
    require(root_, number(root_, "version") == kVersion,
            fmt::format("version {}, this program reads {}", number(root_, "version"), kVersion));
    auto tensors = read_tensors();
    PartitionFile file;
    file.evidence = std::move(evidence_);
    for (const auto& entry : root_["provenance"]) {
      file.provenance.emplace_back(entry.first.Scalar(), entry.second.Scalar());
    }
    file.partition = make_partition(std::move(tensors));
    file.hash = partition_hash(layout_, file.partition);
    const auto hash = root_["hash"];
    require(root_, !hash || hash.Scalar() == file.hash,
            "its content is not what its hash says: drop the line 'hash' where it was changed on "
            "purpose");
    return file;
  }

 private:
  [[noreturn]] void fail(const YAML::Node& node, const std::string& why) const {
    throw InputError(fmt::format("{}:{}: {}", path_.string(), node.Mark().line + 1, why));
  }
  void require(const YAML::Node& node, bool holds, const std::string& why) const {
    if (!holds) fail(node, why);
  }

  std::string text(const YAML::Node& node, const char* key) const {
    const auto value = node[key];
    require(node, value && value.IsScalar(), fmt::format("'{}' is missing", key));
    return value.Scalar();
  }

  std::int64_t integer(const YAML::Node& node) const {
    std::int64_t value = 0;
    const auto scalar = node.IsScalar() ? node.Scalar() : "";
    const auto [end, error] = std::from_chars(scalar.data(), scalar.data() + scalar.size(), value);
    require(node, error == std::errc() && end == scalar.data() + scalar.size(),
            fmt::format("'{}' is not a whole number", scalar));
    return value;
  }
  std::int64_t number(const YAML::Node& node, const char* key) const {
    require(node, node[key].IsDefined(), fmt::format("'{}' is missing", key));
    return integer(node[key]);
  }
  std::vector<std::int64_t> numbers(const YAML::Node& node, const char* key,
                                    std::size_t count) const {
    const auto list = node[key];
    require(node, list && list.IsSequence() && (count == 0 || list.size() == count),
            fmt::format("'{}' is to be a list{}", key,
                        count == 0 ? "" : fmt::format(" of {} numbers", count)));
    std::vector<std::int64_t> values;
    for (const auto& item : list) values.push_back(integer(item));
    return values;
  }

  std::vector<TensorPartition> read_tensors() {
    const auto list = root_["tensors"];
    require(root_, list && list.IsSequence(), "'tensors' is missing");
    std::vector<TensorPartition> tensors(layout_.blocks().size());
    evidence_.resize(tensors.size());
    std::vector<bool> seen(tensors.size(), false);
    for (const auto& node : list) {
      const auto name = text(node, "name");
      const auto& blocks = layout_.blocks();
      const auto found = std::ranges::find(blocks, name, &ParameterBlock::name);
      require(node, found != blocks.end(),
              fmt::format("the model has no tensor '{}': a partition of another model", name));
      const auto place = static_cast<std::size_t>(found - blocks.begin());
      require(node, !seen[place], fmt::format("tensor '{}' is there twice", name));
      seen[place] = true;
      tensors[place] = read_tensor(node, place);
    }
    for (std::size_t i = 0; i < seen.size(); ++i) {
      require(list, seen[i],
              fmt::format("tensor '{}' of the model is missing", layout_.blocks()[i].name));
    }
    return tensors;
  }

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
    return section;
  }

  Structure read_structure(const YAML::Node& node, const std::string& tensor) const {
    const auto name = text(node, "structure");
    if (name == "elements") return Structure::per_element();
    if (name == "tiles") {
      const auto tile = numbers(node, "tile", 2);
      return Structure::tiles(tile[0], tile[1]);
    }
    if (name == "factored") return Structure::factored(number(node, "group"));
    require(node, name == "labels",
            fmt::format("tensor '{}': '{}' is none of elements, tiles, factored, labels", tensor,
                        name));
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
      return Partition(layout_, fmt::format("file {}", path_.string()), std::move(tensors));
    } catch (const InputError& error) {
      throw InputError(fmt::format("{}: {}", path_.string(), error.what()));
    }
  }

  std::filesystem::path path_;
  const ParameterLayout& layout_;
  YAML::Node root_;
  std::vector<std::vector<Evidence>> evidence_;
};

}  // namespace

PartitionFile read_partition(const std::filesystem::path& path, const ParameterLayout& layout) {
  return Reader(path, layout).read();
}

}  // namespace blockwise
