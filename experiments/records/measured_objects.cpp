#include "experiments/records/measured_objects.hpp"

#include "experiments/records/fixed_columns.hpp"

namespace blockwise {
namespace {

// A part with one of its pieces.
struct PieceRow {
  std::int64_t part;
  const PartPiece* piece;
};

std::vector<PieceRow> all_pieces(const std::vector<HessianPart>& parts) {
  std::vector<PieceRow> rows;
  for (std::size_t b = 0; b < parts.size(); ++b) {
    for (const auto& piece : parts[b].pieces)
      rows.push_back({static_cast<std::int64_t>(b), &piece});
  }
  return rows;
}

void write_pieces(Hdf5File& file, const std::vector<HessianPart>& parts) {
  const std::string group = "/hessian/pieces";
  const auto rows = all_pieces(parts);
  file.create_group(group);
  const auto column = [&](const std::string& name, const char* doc, const auto& value) {
    write_numbers(file, group + "/" + name, rows, doc, value);
  };
  column("block", "row of /hessian/blocks", [](auto& r) { return r.part; });
  column("tensor", "row of /hessian/parameters",
         [](auto& r) { return static_cast<std::int64_t>(r.piece->tensor); });
  column("row", "first row, of the tensor as a matrix", [](auto& r) { return r.piece->row; });
  column("rows", "rows", [](auto& r) { return r.piece->rows; });
  column("column", "first column", [](auto& r) { return r.piece->column; });
  column("columns", "columns", [](auto& r) { return r.piece->columns; });
}

struct SectionRow {
  std::int64_t tensor;
  ParameterRole role;
  std::int64_t row, rows;
  Heads heads;
};

std::vector<SectionRow> all_sections(const ParameterLayout& layout) {
  std::vector<SectionRow> rows;
  for (std::size_t t = 0; t < layout.parameters().size(); ++t) {
    const auto& parameter = layout.parameters()[t];
    const auto tensor = static_cast<std::int64_t>(t);
    if (parameter.sections.empty())
      rows.push_back({tensor, parameter.role, 0, parameter.rows(), parameter.heads});
    std::int64_t row = 0;
    for (const auto& section : parameter.sections) {
      rows.push_back({tensor, section.role, row, section.rows, section.heads});
      row += section.rows;
    }
  }
  return rows;
}

void write_sections(Hdf5File& file, const ParameterLayout& layout) {
  const std::string group = "/hessian/sections";
  const auto rows = all_sections(layout);
  file.create_group(group);
  const auto column = [&](const std::string& name, const char* doc, const auto& value) {
    write_numbers(file, group + "/" + name, rows, doc, value);
  };
  column("tensor", "row of /hessian/parameters", [](auto& r) { return r.tensor; });
  write_texts(file, group + "/role", rows, "role", [](auto& r) { return role_name(r.role); });
  column("row", "first row, of the tensor as a matrix", [](auto& r) { return r.row; });
  column("rows", "rows", [](auto& r) { return r.rows; });
  column("heads", "heads, 0: none", [](auto& r) { return r.heads.count; });
  column("head_dim", "rows or columns of each", [](auto& r) { return r.heads.dim; });
  column("head_axis", "0: heads are groups of rows, 1: of columns",
         [](auto& r) { return std::int64_t{r.heads.axis == Heads::Axis::columns}; });
}

}  // namespace

void write_parts(Hdf5File& file, const std::vector<HessianPart>& parts) {
  const std::string group = "/hessian/blocks";
  file.create_group(group);
  write_texts(file, group + "/name", parts, "block", [](auto& b) { return b.name; });
  write_texts(file, group + "/role", parts, "role, empty where mixed",
              [](auto& b) { return b.role; });
  write_numbers(file, group + "/layer", parts, "layer, -1: none or several",
                [](auto& b) { return b.layer; });
  write_numbers(file, group + "/index", parts, "head, row or column, -1: none",
                [](auto& b) { return b.index; });
  write_numbers(file, group + "/elements", parts, "parameters", [](auto& b) { return b.size(); });
  write_pieces(file, parts);
}

void write_parameters(Hdf5File& file, const ParameterLayout& layout) {
  const std::string group = "/hessian/parameters";
  const auto& parts = layout.parameters();
  file.create_group(group);
  write_texts(file, group + "/name", parts, "tensor, as Hugging Face names it",
              [](auto& b) { return b.name; });
  write_texts(file, group + "/role", parts, "role", [](auto& b) { return role_name(b.role); });
  write_numbers(file, group + "/layer", parts, "layer, -1: none", [](auto& b) { return b.layer; });
  write_numbers(file, group + "/offset", parts, "first element in the parameter vector",
                [](auto& b) { return b.offset; });
  write_numbers(file, group + "/elements", parts, "parameters", [](auto& b) { return b.size(); });
  write_texts(file, group + "/shape", parts, "sizes, row-major in the parameter vector",
              [](auto& b) { return fmt::format("[{}]", fmt::join(b.shape, ", ")); });
  write_numbers(file, group + "/transposed", parts,
                "1: Hugging Face's tensor is the transpose, of shape [in, out]; 0: the same",
                [](auto& b) { return std::int64_t{b.stored_transposed}; });
  file.create_group("/hessian/tensors");
  write_texts(file, "/hessian/tensors/name", parts, "tensor", [](auto& b) { return b.name; });
  write_sections(file, layout);
}

void write_examples(Hdf5File& file, const MeasuredExamples& measured) {
  const std::string group = "/hessian/examples";
  file.create_group(group);
  write_numbers(file, group + "/batch", measured.examples, "batch that the example is in",
                [](auto& e) { return e.batch; });
  write_texts(file, group + "/file", measured.examples,
              "token file that it begins in; empty: data that are made up",
              [](auto& e) { return e.place.file; });
  write_numbers(file, group + "/position", measured.examples,
                "its first token in that file, counted from 0; of made-up data its number",
                [](auto& e) { return e.place.position; });
  const std::string tokens = "/hessian/example_tokens";
  file.create_group(tokens);
  const auto itself = [](std::int64_t token) { return token; };
  write_numbers(file, tokens + "/input", measured.inputs,
                "tokens read, example after example; none of data without tokens", itself);
  write_numbers(file, tokens + "/target", measured.targets,
                "tokens predicted there; -100: of no account", itself);
}

void write_points(Hdf5File& file, const std::vector<MeasuredPoint>& points) {
  const std::string group = "/hessian/points";
  file.create_group(group);
  write_numbers(file, group + "/step", points,
                "step of the rows: the checkpoints', where all have one and they ascend, otherwise "
                "0, 1, ...",
                [](auto& p) { return p.step; });
  write_texts(file, group + "/model", points, "model; empty: a fresh one, or the run itself",
              [](auto& p) { return p.model; });
}

}  // namespace blockwise
