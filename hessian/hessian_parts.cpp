#include "hessian/hessian_parts.hpp"

#include <ATen/ATen.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <set>

#include "core/base/error.hpp"

namespace blockwise {
namespace {

// Consecutive rows of a tensor with one role.
struct Piece {
  std::size_t tensor;
  const Parameter* parameter;
  ParameterRole role;
  std::int64_t row_begin, rows;
  Heads heads;
  bool fused;

  std::int64_t columns() const { return parameter->columns(); }
  std::string name() const {
    return fused ? fmt::format("{} {}", parameter->name, role_name(role)) : parameter->name;
  }
  PartPiece whole() const { return {tensor, row_begin, rows, 0, columns()}; }
};

std::vector<Piece> pieces_of(const ParameterLayout& layout) {
  std::vector<Piece> pieces;
  for (std::size_t i = 0; i < layout.parameters().size(); ++i) {
    const auto& parameter = layout.parameters()[i];
    if (parameter.sections.empty()) {
      pieces.push_back(
          {i, &parameter, parameter.role, 0, parameter.rows(), parameter.heads, false});
    }
    std::int64_t row = 0;
    for (const auto& section : parameter.sections) {
      pieces.push_back({i, &parameter, section.role, row, section.rows, section.heads, true});
      row += section.rows;
    }
  }
  return pieces;
}

template <typename T>
bool wanted(const std::vector<T>& list, const T& value) {
  return list.empty() || std::ranges::count(list, value) > 0;
}

// A part while it is put together.
struct Draft {
  std::string name, role;
  std::int64_t layer = -1, index = -1;
  std::vector<PartPiece> pieces;
};

// Numbers of a piece's elements in its tensor of `columns` columns, row by row.
at::Tensor elements_of(const PartPiece& piece, std::int64_t columns) {
  const auto rows = at::arange(piece.row, piece.row + piece.rows, at::kLong) * columns;
  const auto places = at::arange(piece.column, piece.column + piece.columns, at::kLong);
  return (rows.unsqueeze(1) + places).flatten();
}

HessianPart finished(const ParameterLayout& layout, const Draft& draft) {
  std::set<std::size_t> tensors;
  for (const auto& piece : draft.pieces) tensors.insert(piece.tensor);
  const std::vector<std::size_t> chosen(tensors.begin(), tensors.end());
  HessianPart part{
      draft.name, draft.role,  draft.layer, draft.index, ParameterSubset(layout, chosen),
      {},         draft.pieces};
  std::int64_t count = 0;
  for (const auto& piece : draft.pieces) count += piece.rows * piece.columns;
  if (count == part.subset.size()) return part;
  std::vector<at::Tensor> elements;
  for (const auto& piece : draft.pieces) {
    const auto place = std::ranges::find(chosen, piece.tensor) - chosen.begin();
    const auto of_tensor = elements_of(piece, layout.parameters()[piece.tensor].columns());
    elements.push_back(of_tensor + part.subset.offset(static_cast<std::size_t>(place)));
  }
  part.within = at::cat(elements);
  return part;
}

Draft part_of(const Piece& piece, const char* what, std::int64_t index, const PartPiece& part) {
  return {fmt::format("{} {} {}", piece.name(), what, index),
          std::string(role_name(piece.role)),
          piece.parameter->layer,
          index,
          {part}};
}

// `thick` rows or columns from `begin` on.
PartPiece slice(PartPiece whole, bool of_rows, std::int64_t begin, std::int64_t thick) {
  auto& first = of_rows ? whole.row : whole.column;
  auto& count = of_rows ? whole.rows : whole.columns;
  first += begin;
  count = thick;
  return whole;
}

void add_parts(std::vector<Draft>& drafts, const Piece& piece, const PartSelection& selection) {
  const auto whole = piece.whole();
  const bool heads = selection.each == PartKind::head;
  const bool rows = heads ? piece.heads.axis == Heads::Axis::rows : selection.each == PartKind::row;
  const auto thick = heads ? piece.heads.dim : 1;
  const auto count = heads ? piece.heads.count : rows ? whole.rows : whole.columns;
  const char* what = heads ? "head" : rows ? "row" : "column";
  for (std::int64_t i = 0; i < count; ++i) {
    if (!wanted(selection.index, i)) continue;
    drafts.push_back(part_of(piece, what, i, slice(whole, rows, i * thick, thick)));
  }
}

std::vector<Draft> drafts_of(const std::vector<Piece>& pieces, const PartSelection& selection) {
  std::vector<Draft> drafts;
  std::map<std::string, std::size_t> places;
  const auto add_to = [&](const std::string& name, const std::string& role, std::int64_t layer,
                          const Piece& piece) {
    const auto [found, is_new] = places.try_emplace(name, drafts.size());
    if (is_new) drafts.push_back({name, role, layer, -1, {}});
    drafts[found->second].pieces.push_back(piece.whole());
  };
  for (const auto& piece : pieces) {
    const std::string role(role_name(piece.role));
    const auto layer = piece.parameter->layer;
    switch (selection.each) {
      case PartKind::model:
        add_to("all", "", -1, piece);
        break;
      case PartKind::layer:
        add_to(layer < 0 ? "outside the layers" : fmt::format("layer {}", layer), "", layer, piece);
        break;
      case PartKind::role:
        add_to(role, role, -1, piece);
        break;
      case PartKind::tensor:
        add_to(piece.name(), role, layer, piece);
        break;
      default:
        add_parts(drafts, piece, selection);
    }
  }
  return drafts;
}

std::string what_there_is(const ParameterLayout& layout) {
  std::set<std::string> roles;
  for (const auto& piece : pieces_of(layout)) roles.emplace(role_name(piece.role));
  return fmt::format("the model has the roles {} and the layers 0 to {} (-1: outside them)",
                     fmt::join(roles, ", "), layout.layer_count() - 1);
}

}  // namespace

const std::vector<std::string>& part_kind_names() {
  static const std::vector<std::string> names = {"model", "layer", "role",  "tensor",
                                                 "head",  "row",   "column"};
  return names;
}

PartKind part_kind(const std::string& name) {
  const auto& names = part_kind_names();
  const auto found = std::ranges::find(names, name);
  require_input(found != names.end(), "'{}' is none of {}", name, fmt::join(names, ", "));
  return static_cast<PartKind>(found - names.begin());
}

at::Tensor HessianPart::embed(const at::Tensor& x) const {
  if (!within.defined()) return x;
  return at::zeros({subset.size()}, x.options()).index_copy_(0, within.to(x.device()), x);
}

at::Tensor HessianPart::extract(const at::Tensor& packed) const {
  return within.defined() ? packed.index_select(0, within.to(packed.device())) : packed;
}

at::Tensor HessianPart::of_tensors(const std::vector<at::Tensor>& tensors) const {
  std::vector<at::Tensor> chosen;
  for (const auto tensor : subset.parameters()) chosen.push_back(tensors[tensor]);
  auto packed = at::empty({subset.size()}, chosen.front().options());
  subset.pack(chosen, packed);
  return extract(packed);
}

std::vector<HessianPart> select_parts(const ParameterLayout& layout,
                                      const PartSelection& selection) {
  auto pieces = pieces_of(layout);
  std::erase_if(pieces, [&](const Piece& piece) {
    return !wanted(selection.roles, piece.role) ||
           !wanted(selection.layers, piece.parameter->layer) ||
           !wanted(selection.tensors, piece.tensor);
  });
  std::vector<HessianPart> parts;
  for (const auto& draft : drafts_of(pieces, selection)) parts.push_back(finished(layout, draft));
  require_input(!parts.empty(),
                "hessian: no part matches; {} (hessian.parts.roles, layers, index or "
                "names)",
                what_there_is(layout));
  return parts;
}

PartOperator::PartOperator(Curvature& curvature, CurvatureKind kind, const HessianPart& part)
    : whole_(curvature, kind, part.subset), part_(part) {}

void PartOperator::apply(const at::Tensor& x, const at::Tensor& y) const {
  if (!part_.within.defined()) return whole_.apply(x, y);
  y.copy_(part_.extract(whole_(part_.embed(x))));
}

}  // namespace blockwise
