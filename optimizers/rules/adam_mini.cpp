// Adam-mini (Zhang et al., arXiv 2406.16793, Algorithm 1): AdamW whose second moment has the
// structure that the partition says. With one element per block it is AdamW bit for bit; with the
// partition rule `adam_mini` it is the paper's method; with a factored structure an Adafactor-like
// product. State: exp_avg, 4 bytes per parameter; exp_avg_sq, 4 bytes per value of the partition.
// Deviation: vectors (biases, norm gains) have one value per element, where the paper's Algorithm 3
// takes one per tensor; the rule `released_1_1_1` does what the published package does.
#include <ATen/ATen.h>

#include "optimizers/adam_options.hpp"
#include "optimizers/block_rate_steps.hpp"

namespace blockwise {
namespace {

// mean over each tile of x [rows, columns], as [bands, tiles across].
at::Tensor tile_means(const at::Tensor& x, std::int64_t tile_rows, std::int64_t tile_columns) {
  const auto pad = [](std::int64_t n, std::int64_t k) { return (n + k - 1) / k * k; };
  const std::int64_t rows = pad(x.size(0), tile_rows), columns = pad(x.size(1), tile_columns);
  const auto sums = [&](const at::Tensor& t) {
    return at::constant_pad_nd(t, {0, columns - x.size(1), 0, rows - x.size(0)})
        .view({rows / tile_rows, tile_rows, columns / tile_columns, tile_columns})
        .sum(at::IntArrayRef{1, 3});
  };
  return sums(x) / sums(at::ones_like(x));
}

class AdamMini : public UpdateRule {
 public:
  explicit AdamMini(const AdamOptions& options) : options_(options) {}

  std::vector<StateKind> state() const override {
    return {{"exp_avg", StateKind::Extent::per_parameter},
            {"exp_avg_sq", StateKind::Extent::per_partition_value}};
  }

  double update_cpu(const BlockUpdate& u, const StepInfo& info,
                    kernels::Workspace& space) const override {
    const auto step = options_.step(info);
    const std::int64_t columns = u.block.columns();
    const std::int64_t first_value = u.partition.sections.front().state_offset;
    double moved = 0.0;
    for (const auto& section : u.partition.sections) {
      const std::int64_t at = section.row_begin * columns;
      const kernels::MatrixView matrix{u.parameter.data_ptr<float>() + at,
                                       u.gradient.data_ptr<float>() + at,
                                       u.state[0].data_ptr<float>() + at, section.rows, columns};
      float* v = u.state[1].data_ptr<float>() + (section.state_offset - first_value);
      moved += update_section(matrix, v, section.structure,
                              section.merged < 0 ? step : step.with_fixed_moment(), space);
    }
    return moved;
  }

  at::Tensor update_tensors(const BlockUpdate& u, const StepInfo& info) const override {
    const std::int64_t columns = u.block.columns();
    const std::int64_t first_value = u.partition.sections.front().state_offset;
    const auto matrix = [&](const at::Tensor& t, const PartitionSection& s) {
      return t.view({-1, columns}).narrow(0, s.row_begin, s.rows);
    };
    auto moved = at::zeros({}, u.parameter.options().dtype(at::kDouble));
    for (const auto& section : u.partition.sections) {
      const auto g = matrix(u.gradient, section) * info.gradient_scale;
      if (section.structure.kind == Structure::Kind::none) {
        moved += momentum_section_tensors(matrix(u.parameter, section), g,
                                          matrix(u.state[0], section), options_, info);
        continue;
      }
      const auto v = u.state[1].narrow(0, section.state_offset - first_value, section.state_size());
      moved += adam_section_tensors(matrix(u.parameter, section), g, matrix(u.state[0], section),
                                    update_moment(g, v, section, options_.second_moment(info.step)),
                                    options_, info);
    }
    return moved;
  }

  // v <- beta2 v + (1 - beta2) (sum of all sections' g'^2) / (number of their elements)
  void update_merged(const std::vector<MergedSection>& sections, const StepInfo& info,
                     kernels::Workspace& space) const override {
    const auto step = options_.step(info);
    double squares = 0.0, count = 0.0;
    for (const auto& s : sections) {
      squares += squared_norm(s.gradient, space);
      count += double(s.gradient.numel());
    }
    const double scale = info.gradient_scale * info.gradient_scale;
    const float old = sections.front().value.item<float>();
    const float v = kernels::second_moment(old, float(squares * scale / count), step);
    for (const auto& s : sections) s.value.fill_(v);
  }

 private:
  static double squared_norm(const at::Tensor& g, kernels::Workspace& space) {
    if (g.is_cpu() && g.scalar_type() == at::kFloat) {
      return kernels::squared_norm(g.data_ptr<float>(), g.numel(), space);
    }
    return g.to(at::kDouble).square().sum().item<double>();
  }

  static double update_section(const kernels::MatrixView& matrix, float* v,
                               const Structure& structure, const kernels::AdamStep& step,
                               kernels::Workspace& space) {
    switch (structure.kind) {
      case Structure::Kind::elements:
        return kernels::adam_per_element(matrix, v, step, space);
      case Structure::Kind::tiles:
        return kernels::adam_tiles(matrix, v, structure.tile_rows, structure.tile_columns, step,
                                   space);
      case Structure::Kind::factored:
        return kernels::adam_factored(matrix, v, structure.tile_rows, step, space);
      case Structure::Kind::labels:
        return kernels::adam_labels(matrix, v, structure.labels.data(), structure.label_count, step,
                                    space);
      case Structure::Kind::none:
        return kernels::momentum_step(matrix, step, space);
    }
    return 0.0;
  }

  // Updates the section's values from g' and returns v at every element, [rows, columns].
  at::Tensor update_moment(const at::Tensor& g, const at::Tensor& values, const PartitionSection& s,
                           const AdamOptions::MomentStep& step) const {
    const auto average = [&](const at::Tensor& moment, const at::Tensor& square) {
      moment.mul_(step.keep).add_(square.reshape(moment.sizes()), step.add);
    };
    const auto squares = g.square();
    switch (s.structure.kind) {
      case Structure::Kind::elements:
        average(values, squares);
        return values.view({s.rows, s.columns});
      case Structure::Kind::tiles: {
        if (s.merged >= 0) return values.view({1, 1});
        average(values, tile_means(squares, std::min(s.structure.tile_rows, s.rows),
                                   std::min(s.structure.tile_columns, s.columns)));
        return spread_over_blocks(values, s);
      }
      case Structure::Kind::factored:
        return update_factors(squares, values, s, average);
      case Structure::Kind::labels: {
        const auto labels = at::tensor(at::ArrayRef<std::int32_t>(s.structure.labels), at::kLong)
                                .to(values.device());
        const auto flat = squares.reshape({-1});
        const auto sums = at::zeros_like(values).index_add_(0, labels, flat);
        const auto counts = at::zeros_like(values).index_add_(0, labels, at::ones_like(flat));
        average(values, sums / counts);
        return values.index_select(0, labels).view({s.rows, s.columns});
      }
      case Structure::Kind::none:
        break;
    }
    return values;
  }

  template <typename Average>
  static at::Tensor update_factors(const at::Tensor& squares, const at::Tensor& values,
                                   const PartitionSection& s, const Average& average) {
    const std::int64_t group = std::min(s.structure.tile_rows, s.rows);
    const auto r = values.narrow(0, 0, s.rows);
    const auto c = values.narrow(0, s.rows, s.tile_grid_rows() * s.columns);
    average(r, squares.mean(1));
    average(c, tile_means(squares, group, 1));
    const auto mean_r = tile_means(r.view({-1, 1}), group, 1);  // [groups, 1]
    const auto ratio =
        at::where(mean_r > 0, c.view({-1, s.columns}) / mean_r, at::zeros_like(mean_r));
    return r.view({-1, 1}) * ratio.repeat_interleave(group, 0).narrow(0, 0, s.rows);
  }

  AdamOptions options_;
};

class AdamMiniSpec : public RuleSpec {
 public:
  std::string name() const override { return "adam_mini"; }
  std::string doc() const override {
    return "Adam-mini: AdamW with one second moment per block of a partition";
  }
  bool uses_partition() const override { return true; }
  void visit(FieldVisitor& v) override { options_.visit(v); }
  std::unique_ptr<UpdateRule> build() const override { return adam_mini_rule(options_); }
  std::unique_ptr<RuleSpec> clone() const override { return std::make_unique<AdamMiniSpec>(*this); }

 private:
  AdamOptions options_;
};

}  // namespace

std::unique_ptr<UpdateRule> adam_mini_rule(const AdamOptions& options) {
  return std::make_unique<AdamMini>(options);
}

std::unique_ptr<RuleSpec> make_adam_mini() { return std::make_unique<AdamMiniSpec>(); }

}  // namespace blockwise
