#include "hessian/guards.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <functional>

#include "core/base/error.hpp"
#include "hessian/krylov_basis.hpp"
#include "hessian/probe_vectors.hpp"

namespace blockwise {
namespace {

at::Tensor gaussian_probe(const LinearOperator& a, std::uint64_t seed, std::uint64_t index) {
  return gaussian(a.columns(), probe_generator(seed, index), a.options());
}

// Rows [begin, begin + rows) of a parameter that have one role and heads.
struct RowSection {
  std::size_t parameter;
  ParameterRole role;
  std::int64_t begin, rows;
  Heads heads;
};

// The layout's parameters of one layer, as what a symmetry needs to find in it.
class LayerView {
 public:
  LayerView(const ParameterLayout& layout, std::int64_t layer) : layout_(layout) {
    for (std::size_t i = 0; i < layout.parameters().size(); ++i) {
      if (layout.parameters()[i].layer == layer) parameters_.push_back(i);
    }
  }

  const std::vector<std::size_t>& parameters() const { return parameters_; }

  // The rows with a role; rows = 0 where the layer has none.
  RowSection section(ParameterRole role) const {
    for (const auto i : parameters_) {
      const auto& parameter = layout_.parameters()[i];
      if (parameter.role == role && parameter.is_matrix())
        return {i, role, 0, parameter.rows(), parameter.heads};
      std::int64_t begin = 0;
      for (const auto& part : parameter.sections) {
        if (part.role == role) return {i, role, begin, part.rows, part.heads};
        begin += part.rows;
      }
    }
    return {0, role, 0, 0, {}};
  }

  // A bias stands right behind its matrix or norm.
  bool has_bias(std::size_t parameter) const {
    const auto& all = layout_.parameters();
    return parameter + 1 < all.size() && all[parameter + 1].role == ParameterRole::bias &&
           all[parameter + 1].size() == all[parameter].rows();
  }

 private:
  const ParameterLayout& layout_;
  std::vector<std::size_t> parameters_;
};

class SymmetryBuilder {
 public:
  // Directions are made where `wanted` says so, by number: each is as long as the parameters.
  SymmetryBuilder(const ParameterLayout& layout, at::TensorOptions options,
                  std::function<bool(std::size_t)> wanted)
      : layout_(layout), options_(options), wanted_(std::move(wanted)), all_(layout) {}

  std::vector<ScalingSymmetry> build() {
    for (std::int64_t i = 0; i < layout_.layer_count(); ++i) add_layer(i);
    return std::move(symmetries_);
  }

 private:
  void add_layer(std::int64_t index) {
    const LayerView layer(layout_, index);
    const auto q = layer.section(ParameterRole::query), k = layer.section(ParameterRole::key);
    const auto v = layer.section(ParameterRole::value);
    const auto o = layer.section(ParameterRole::attention_output);
    if (q.rows == 0 || k.rows == 0 || v.rows == 0 || o.rows == 0) return;
    const auto shared = q.heads.count / k.heads.count;
    const bool head_norms = has_head_norms(layer);
    for (std::int64_t h = 0; h < k.heads.count; ++h) {
      if (!head_norms) {
        start(fmt::format("layer {} key head {}: query +, key -", index, h));
        scale_rows(layer, q, h * shared * q.heads.dim, shared * q.heads.dim, 1.0);
        scale_rows(layer, k, h * k.heads.dim, k.heads.dim, -1.0);
      }
      start(fmt::format("layer {} value head {}: value +, output -", index, h));
      scale_rows(layer, v, h * v.heads.dim, v.heads.dim, 1.0);
      scale_columns(o, h * shared * o.heads.dim, shared * o.heads.dim, -1.0);
    }
    add_norms(layer, index);
  }

  // Norms beside the two that a layer has of the residual stream, or of another width than that,
  // which is the longest.
  bool has_head_norms(const LayerView& layer) const {
    std::int64_t shortest = std::numeric_limits<std::int64_t>::max(), longest = 0, norms = 0;
    for (const auto i : layer.parameters()) {
      if (layout_.parameters()[i].role != ParameterRole::norm) continue;
      ++norms;
      shortest = std::min(shortest, layout_.parameters()[i].size());
      longest = std::max(longest, layout_.parameters()[i].size());
    }
    return longest > 0 && (shortest < longest || norms > 2);
  }

  // A norm is read by the matrices behind it that read the residual stream, up to the next norm.
  void add_norms(const LayerView& layer, std::int64_t index) {
    if (has_head_norms(layer)) return;
    int count = 0;
    bool open = false;
    for (const auto i : layer.parameters()) {
      const auto& parameter = layout_.parameters()[i];
      if (parameter.role == ParameterRole::norm) {
        start(fmt::format("layer {} norm {}: gain +, what reads it -", index, ++count));
        scale_tensor(i, 1.0);
        if (layer.has_bias(i)) scale_tensor(i + 1, 1.0);
        open = true;
      }
      if (open && reads_residual(parameter)) scale_tensor(i, -1.0);
    }
  }

  static bool reads_residual(const Parameter& parameter) {
    const auto role = parameter.role;
    return !parameter.sections.empty() ||
           (parameter.is_matrix() &&
            (role == ParameterRole::query || role == ParameterRole::key ||
             role == ParameterRole::value || role == ParameterRole::mlp_in ||
             role == ParameterRole::mlp_gate));
  }

  void start(const std::string& name) {
    const bool wanted = wanted_(symmetries_.size());
    symmetries_.push_back({name, wanted ? at::zeros({layout_.size()}, options_) : at::Tensor()});
    places_.clear();
    if (wanted) places_ = all_.views(symmetries_.back().d);
  }

  void scale_tensor(std::size_t parameter, double sign) {
    if (!places_.empty()) places_[parameter].fill_(sign);
  }

  void scale_rows(const LayerView& layer, const RowSection& section, std::int64_t begin,
                  std::int64_t rows, double sign) {
    if (places_.empty()) return;
    places_[section.parameter].narrow(0, section.begin + begin, rows).fill_(sign);
    if (layer.has_bias(section.parameter)) {
      places_[section.parameter + 1].narrow(0, section.begin + begin, rows).fill_(sign);
    }
  }

  void scale_columns(const RowSection& section, std::int64_t begin, std::int64_t columns,
                     double sign) {
    if (places_.empty()) return;
    places_[section.parameter].narrow(1, begin, columns).fill_(sign);
  }

  const ParameterLayout& layout_;
  at::TensorOptions options_;
  std::function<bool(std::size_t)> wanted_;
  ParameterSubset all_;
  std::vector<ScalingSymmetry> symmetries_;
  std::vector<at::Tensor> places_;  // of the last symmetry, by parameter
};

}  // namespace

OperatorCheck check_operator(const LinearOperator& a, std::uint64_t seed) {
  auto v = gaussian_probe(a, seed, 1);
  auto av = a(v);
  const double length = std::max(euclidean_norm(av), 1e-300);
  OperatorCheck check;
  // |A v - A v| / |A v| of two products
  check.noise = euclidean_norm(a(v).sub_(av)) / length;
  // |u^T A v - v^T A u| / (|u| |A v|)
  auto u = gaussian_probe(a, seed, 0);
  auto au = a(u);
  if (a.symmetric())
    check.asymmetry =
        std::abs(inner_product(u, av) - inner_product(v, au)) / (euclidean_norm(u) * length);
  // A (2 u - 3 v), which is 2 A u - 3 A v where A is linear. In place: there are four vectors.
  u.mul_(2.0).sub_(v, 3.0);
  v.reset();
  const auto mixed = a(u);
  const double size = std::max(euclidean_norm(mixed), 1e-300);
  check.nonlinearity = euclidean_norm(mixed.sub_(au, 2.0).add_(av, 3.0)) / size;
  return check;
}

std::vector<ScalingSymmetry> scaling_symmetries(const ParameterStore& store) {
  return SymmetryBuilder(store.layout(), store.parameters().options(), [](auto) { return true; })
      .build();
}

std::vector<std::size_t> checked_symmetries(const ParameterLayout& layout, std::size_t most) {
  const auto all = SymmetryBuilder(layout, {}, [](auto) { return false; }).build().size();
  std::vector<std::size_t> picked;
  for (std::size_t i = 0; i < std::min(most, all); ++i) {
    picked.push_back((2 * i + 1) * all / (2 * std::min(most, all)));
  }
  return picked;
}

std::vector<std::string> checked_symmetry_names(const ParameterLayout& layout, std::size_t most) {
  const auto all = SymmetryBuilder(layout, {}, [](auto) { return false; }).build();
  std::vector<std::string> names;
  for (const auto i : checked_symmetries(layout, most)) names.push_back(all[i].name);
  return names;
}

std::vector<SymmetryCheck> check_symmetries(Curvature& curvature, std::size_t most,
                                            const std::function<void()>& before) {
  const auto parameters = curvature.parameters();
  const auto& layout = curvature.store().layout();
  const ParameterSubset all(layout);
  // Of differences, before there are other vectors: it takes the most.
  if (curvature.uses_differences()) curvature.difference_step(all, before);
  auto product = at::empty_like(parameters);
  std::vector<SymmetryCheck> checks;
  for (const auto i : checked_symmetries(layout, most)) {
    const auto symmetry =
        SymmetryBuilder(layout, parameters.options(), [i](auto k) { return k == i; }).build()[i];
    if (before) before();
    // The loss is constant along w(t) = exp(t D) w, so g . D w = 0 for all w; its derivative in w
    // is H D w + D g = 0.
    curvature.hessian_product(all, symmetry.d * parameters, all, product);
    const auto expected = symmetry.d * curvature.gradient();
    const double size = euclidean_norm(product) + euclidean_norm(expected);
    checks.push_back(
        {symmetry.name, size == 0.0 ? 0.0 : euclidean_norm(product + expected) / size});
  }
  return checks;
}

}  // namespace blockwise
