// The parts of a model whose curvature is looked at by themselves: layers, roles, tensors, heads,
// rows, columns. A fused tensor counts as its sections (a fused QKV is a query, a key, a value).
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "core/parameters/parameter_subset.hpp"
#include "hessian/curvature_operators.hpp"

namespace blockwise {

enum class PartKind { model, layer, role, tensor, head, row, column };
const std::vector<std::string>& part_kind_names();  // in the order of the enum
PartKind part_kind(const std::string& name);

// One part per `each`, of what has one of the roles and layers, lies in one of the tensors
// (numbers in the layout) and, for heads, rows and columns, has one of the numbers; an empty list
// means all.
struct PartSelection {
  PartKind each = PartKind::model;
  std::vector<ParameterRole> roles;
  std::vector<std::int64_t> layers;
  std::vector<std::int64_t> index;
  std::vector<std::size_t> tensors;
};

// A rectangle of a tensor as a matrix (a vector has one column).
struct PartPiece {
  std::size_t tensor = 0;  // in the layout
  std::int64_t row = 0, rows = 0, column = 0, columns = 0;
};

struct HessianPart {
  std::string name;
  std::string role;         // empty where it has several
  std::int64_t layer = -1;  // -1: none, or several
  std::int64_t index = -1;  // of the head, row or column in its tensor
  ParameterSubset subset;   // the tensors that it lies in
  at::Tensor within;        // int64: its elements in the packed subset; undefined: all
  // Its elements in their order: piece by piece, each row by row.
  std::vector<PartPiece> pieces;

  std::int64_t size() const { return within.defined() ? within.numel() : subset.size(); }
  // x [size()] in a packed vector that is zero elsewhere, and back.
  at::Tensor embed(const at::Tensor& x) const;
  at::Tensor extract(const at::Tensor& packed) const;
  // Out of one tensor per tensor of the layout, as ParameterSubset::views() of all makes them.
  at::Tensor of_tensors(const std::vector<at::Tensor>& tensors) const;
};

// In the layout's order. Throws InputError where nothing matches, saying what there is.
std::vector<HessianPart> select_parts(const ParameterLayout& layout,
                                      const PartSelection& selection);

// A[b, b] for a part b; one product restricted to the tensors that the part lies in.
class PartOperator : public LinearOperator {
 public:
  PartOperator(Curvature& curvature, CurvatureKind kind, const HessianPart& part);
  std::int64_t rows() const override { return part_.size(); }
  std::int64_t columns() const override { return part_.size(); }
  bool symmetric() const override { return true; }
  at::TensorOptions options() const override { return whole_.options(); }
  void apply(const at::Tensor& x, const at::Tensor& y) const override;

 private:
  CurvatureOperator whole_;
  const HessianPart& part_;
};

}  // namespace blockwise
