#include "hessian/hessian_blocks.hpp"

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
  BlockPiece whole() const { return {tensor, row_begin, rows, 0, columns()}; }
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

// A block while it is put together.
struct Draft {
  std::string name, role;
  std::int64_t layer = -1, index = -1;
  std::vector<BlockPiece> pieces;
};

// Numbers of a piece's elements in its tensor of `columns` columns, row by row.
at::Tensor elements_of(const BlockPiece& piece, std::int64_t columns) {
  const auto rows = at::arange(piece.row, piece.row + piece.rows, at::kLong) * columns;
  const auto places = at::arange(piece.column, piece.column + piece.columns, at::kLong);
  return (rows.unsqueeze(1) + places).flatten();
}

HessianBlock finished(const ParameterLayout& layout, const Draft& draft) {
  std::set<std::size_t> tensors;
  for (const auto& piece : draft.pieces) tensors.insert(piece.tensor);
  const std::vector<std::size_t> chosen(tensors.begin(), tensors.end());
  HessianBlock block{
      draft.name, draft.role,  draft.layer, draft.index, ParameterSubset(layout, chosen),
      {},         draft.pieces};
  std::vector<at::Tensor> parts;
  for (const auto& piece : draft.pieces) {
    const auto place = std::ranges::find(chosen, piece.tensor) - chosen.begin();
    const auto elements = elements_of(piece, layout.parameters()[piece.tensor].columns());
    parts.push_back(elements + block.subset.offset(static_cast<std::size_t>(place)));
  }
  const auto all = at::cat(parts);
  if (all.numel() < block.subset.size()) block.within = all;
  return block;
}

Draft part_of(const Piece& piece, const char* what, std::int64_t index, const BlockPiece& part) {
  return {fmt::format("{} {} {}", piece.name(), what, index),
          std::string(role_name(piece.role)),
          piece.parameter->layer,
          index,
          {part}};
}

// `thick` rows or columns from `begin` on.
BlockPiece slice(BlockPiece whole, bool of_rows, std::int64_t begin, std::int64_t thick) {
  auto& first = of_rows ? whole.row : whole.column;
  auto& count = of_rows ? whole.rows : whole.columns;
  first += begin;
  count = thick;
  return whole;
}

void add_parts(std::vector<Draft>& drafts, const Piece& piece, const BlockSelection& selection) {
  const auto whole = piece.whole();
  const bool heads = selection.each == BlockKind::head;
  const bool rows =
      heads ? piece.heads.axis == Heads::Axis::rows : selection.each == BlockKind::row;
  const auto thick = heads ? piece.heads.dim : 1;
  const auto count = heads ? piece.heads.count : rows ? whole.rows : whole.columns;
  const char* what = heads ? "head" : rows ? "row" : "column";
  for (std::int64_t i = 0; i < count; ++i) {
    if (!wanted(selection.index, i)) continue;
    drafts.push_back(part_of(piece, what, i, slice(whole, rows, i * thick, thick)));
  }
}

std::vector<Draft> drafts_of(const std::vector<Piece>& pieces, const BlockSelection& selection) {
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
      case BlockKind::model:
        add_to("all", "", -1, piece);
        break;
      case BlockKind::layer:
        add_to(layer < 0 ? "outside the layers" : fmt::format("layer {}", layer), "", layer, piece);
        break;
      case BlockKind::role:
        add_to(role, role, -1, piece);
        break;
      case BlockKind::tensor:
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
  std::int64_t layers = 0;
  for (const auto& piece : pieces_of(layout)) {
    roles.emplace(role_name(piece.role));
    layers = std::max(layers, piece.parameter->layer + 1);
  }
  return fmt::format("the model has the roles {} and the layers 0 to {} (-1: outside them)",
                     fmt::join(roles, ", "), layers - 1);
}

}  // namespace

const std::vector<std::string>& block_kind_names() {
  static const std::vector<std::string> names = {"model", "layer", "role",  "tensor",
                                                 "head",  "row",   "column"};
  return names;
}

BlockKind block_kind(const std::string& name) {
  const auto& names = block_kind_names();
  const auto found = std::ranges::find(names, name);
  require_input(found != names.end(), "'{}' is none of {}", name, fmt::join(names, ", "));
  return static_cast<BlockKind>(found - names.begin());
}

at::Tensor HessianBlock::embed(const at::Tensor& x) const {
  if (!within.defined()) return x;
  return at::zeros({subset.size()}, x.options()).index_copy_(0, within.to(x.device()), x);
}

at::Tensor HessianBlock::extract(const at::Tensor& packed) const {
  return within.defined() ? packed.index_select(0, within.to(packed.device())) : packed;
}

at::Tensor HessianBlock::of_parts(const std::vector<at::Tensor>& parts) const {
  std::vector<at::Tensor> chosen;
  for (const auto tensor : subset.parameters()) chosen.push_back(parts[tensor]);
  auto packed = at::empty({subset.size()}, chosen.front().options());
  subset.pack(chosen, packed);
  return extract(packed);
}

std::vector<HessianBlock> select_blocks(const ParameterLayout& layout,
                                        const BlockSelection& selection) {
  auto pieces = pieces_of(layout);
  std::erase_if(pieces, [&](const Piece& piece) {
    return !wanted(selection.roles, piece.role) ||
           !wanted(selection.layers, piece.parameter->layer) ||
           !wanted(selection.tensors, piece.tensor);
  });
  std::vector<HessianBlock> blocks;
  for (const auto& draft : drafts_of(pieces, selection)) blocks.push_back(finished(layout, draft));
  require_input(!blocks.empty(),
                "hessian: no block matches; {} (hessian.blocks.roles, layers, index or "
                "names)",
                what_there_is(layout));
  return blocks;
}

BlockOperator::BlockOperator(Curvature& curvature, CurvatureKind kind, const HessianBlock& block)
    : whole_(curvature, kind, block.subset), block_(block) {}

void BlockOperator::apply(const at::Tensor& x, const at::Tensor& y) const {
  if (!block_.within.defined()) return whole_.apply(x, y);
  y.copy_(block_.extract(whole_(block_.embed(x))));
}

}  // namespace blockwise
