// Adam-mini (Zhang et al., arXiv 2406.16793, Algorithm 1): AdamW whose second moment has the
// structure that the partition says. With one element per block it is AdamW bit for bit; with the
// partition rule `adam_mini` it is the paper's method; with a factored structure an Adafactor-like
// product. State: exp_avg, 4 bytes per parameter; exp_avg_sq, 4 bytes per value of the partition.
// Deviation: vectors (biases, norm gains) have one value per element, where the paper's Algorithm 3
// takes one per tensor; the rule `released_1_1_1` does what the published package does.
#include <ATen/ATen.h>

#include <algorithm>
#include <map>

#include "core/partition/section_blocks.hpp"
#include "optimizers/adam_options.hpp"
#include "optimizers/flat_steps.hpp"
#include "optimizers/rule_spec.hpp"
#include "optimizers/update_rule.hpp"

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

// A section of a tensor whose value is shared across tensors; see PartitionSection::merged.
struct MergedSection {
  at::Tensor gradient;    // [rows, columns]
  at::Tensor value;       // [1]
  const double* squares;  // of the gradient; null: not known
};

// Sums of squares that the norm's pass finds for a section: where a value has so many elements that
// its sum takes no memory to speak of.
std::int64_t square_sums_of(const PartitionSection& section) {
  constexpr std::int64_t kElementsPerSum = 32;
  const auto kind = section.structure.kind;
  const bool shares = kind == Structure::Kind::tiles || kind == Structure::Kind::factored;
  const auto values = shares ? section.state_size() : 0;
  return values * kElementsPerSum <= section.size() ? values : 0;
}

class AdamMini : public UpdateRule, public FusedStep, public FlatStep {
 public:
  using Options = AdamOptions;
  explicit AdamMini(const Options& options) : options_(options) {}

  RuleTraits traits(const TensorPartition& partition) const override {
    const auto shares = [](const PartitionSection& section) { return section.merged >= 0; };
    return {.local = std::ranges::none_of(partition.sections, shares)};
  }
  std::vector<StateSpec> state(const Parameter& parameter,
                               const TensorPartition& partition) const override {
    std::int64_t values = 0;
    for (const auto& section : partition.sections) values += section.state_size();
    return {{"exp_avg", parameter.shape}, {"exp_avg_sq", {values}, StateUse::non_negative}};
  }
  std::int64_t rows_together(const Parameter& parameter,
                             const TensorPartition& partition) const override {
    return rows_of_whole_blocks(parameter, partition);
  }
  const FusedStep* fused(const KernelKey& key) const override {
    return key.is_float_cpu() ? this : nullptr;
  }

  kernels::FlatRule flat_rule(const StepScope& scope, double weight_decay) const override {
    return {.kind = kernels::FlatRule::Kind::adam, .adam = options_.step(scope, weight_decay)};
  }
  bool set_moment(const PartitionSection& section, kernels::FlatSection& flat) const override {
    using Moment = kernels::FlatSection::Moment;
    const std::map<Structure::Kind, Moment> kinds = {{Structure::Kind::elements, Moment::elements},
                                                     {Structure::Kind::tiles, Moment::tiles},
                                                     {Structure::Kind::factored, Moment::factored},
                                                     {Structure::Kind::none, Moment::none}};
    const auto found = kinds.find(section.structure.kind);
    if (found == kinds.end()) return false;
    flat.moment = found->second;
    flat.value = section.state_offset;
    flat.merged = section.merged;
    return true;
  }

  void begin_step(std::span<ParameterStep> parameters, const StepScope& scope) const override {
    std::map<std::int64_t, std::vector<MergedSection>> by_number;
    for (const auto& p : parameters) {
      for (std::size_t i = 0; i < p.partition.sections.size(); ++i) {
        const auto& s = p.partition.sections[i];
        if (s.merged < 0) continue;
        by_number[s.merged].push_back({rows_of(s, p.gradient), values_of(p, s), squares_of(p, i)});
      }
    }
    for (const auto& [number, sections] : by_number) update_merged(sections, scope);
  }

  double apply(const ParameterStep& p, const StepScope& scope) const override {
    const auto step = options_.step(scope, p.weight_decay);
    double moved = 0.0;
    for (std::size_t i = 0; i < p.partition.sections.size(); ++i) {
      const auto& section = p.partition.sections[i];
      kernels::RateMap map;
      auto matrix = section_view(p, section);
      matrix.rates = rate_map(p, i, map);
      matrix.squares = squares_of(p, i);
      moved += update_section(matrix, p.state.data(1) + first_value(p, section), section.structure,
                              section.merged < 0 ? step : step.with_fixed_moment(), scope.space);
    }
    return moved;
  }

  std::int64_t square_sums(const TensorPartition& partition) const override {
    std::int64_t count = 0;
    for (const auto& section : partition.sections) count += square_sums_of(section);
    return count;
  }

  double sum_squares(const ParameterStep& p, double* sums,
                     kernels::Workspace& space) const override {
    double total = 0.0;
    for (const auto& section : p.partition.sections) {
      const auto matrix = section_view(p, section);
      const auto& structure = section.structure;
      const auto values = square_sums_of(section);
      if (values == 0) {
        total += kernels::squared_norm(matrix.g, section.size(), space);
      } else if (structure.kind == Structure::Kind::factored) {
        total += kernels::factor_squares(matrix, structure.tile_rows, sums, space);
      } else {
        total += kernels::tile_squares(matrix, {structure.tile_rows, structure.tile_columns}, sums,
                                       space);
      }
      sums += values;
    }
    return total;
  }

  at::Tensor update(const ParameterStep& p, const StepScope& scope) const override {
    auto moved = at::zeros({}, p.weight.options().dtype(at::kDouble));
    for (std::size_t i = 0; i < p.partition.sections.size(); ++i) {
      const auto& section = p.partition.sections[i];
      const auto w = rows_of(section, p.weight), m = rows_of(section, p.state.load(0));
      const auto g = rows_of(section, p.gradient) * scope.gradient_scale;
      auto size = options_.size(scope, p.weight_decay);
      size.rate = section_rates(p, i);
      if (section.structure.kind == Structure::Kind::none) {
        moved += momentum_tensors(w, g, m, options_.beta1, size);
        continue;
      }
      const auto v =
          update_moment(g, values_of(p, section), section, options_.second_moment(scope.step));
      moved += adam_tensors({w, g, m, v}, options_, scope, size);
    }
    return moved;
  }

 private:
  static kernels::MatrixView section_view(const ParameterStep& p, const PartitionSection& section) {
    const auto at = section.row_begin * section.columns;
    return {p.weight.data_ptr<float>() + at, p.gradient.data_ptr<float>() + at,
            p.state.data(0) + at, section.rows, section.columns};
  }

  // Those that sum_squares() wrote for a section; null where it did not.
  static const double* squares_of(const ParameterStep& p, std::size_t section) {
    const auto& sections = p.partition.sections;
    if (p.squares == nullptr || square_sums_of(sections[section]) == 0) return nullptr;
    const double* squares = p.squares;
    for (std::size_t i = 0; i < section; ++i) squares += square_sums_of(sections[i]);
    return squares;
  }

  // Of the section's values in the tensor's.
  static std::int64_t first_value(const ParameterStep& p, const PartitionSection& section) {
    return section.state_offset - p.partition.sections.front().state_offset;
  }
  static at::Tensor values_of(const ParameterStep& p, const PartitionSection& section) {
    return p.state.load(1).narrow(0, first_value(p, section), section.state_size());
  }

  // v <- beta2 v + (1 - beta2) (sum of all sections' g'^2) / (number of their elements)
  void update_merged(const std::vector<MergedSection>& sections, const StepScope& scope) const {
    const auto step = options_.step(scope, 0.0);
    double squares = 0.0, count = 0.0;
    for (const auto& s : sections) {
      squares += s.squares != nullptr ? *s.squares : squared_norm(s.gradient, scope.space);
      count += double(s.gradient.numel());
    }
    const double scale = scope.gradient_scale * scope.gradient_scale;
    const float old = sections.front().value.item<float>();
    const float v = kernels::second_moment(old, float(squares * scale / count), step);
    for (const auto& s : sections) s.value.fill_(v);
  }

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
        return kernels::adam_tiles(matrix, v, {structure.tile_rows, structure.tile_columns}, step,
                                   space);
      case Structure::Kind::factored:
        return kernels::adam_factored(matrix, v, structure.tile_rows, step, space);
      case Structure::Kind::labels:
        return kernels::adam_labels(matrix, v, {structure.labels.data(), structure.label_count},
                                    step, space);
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
        return spread(s, values);
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
        return spread(s, values);
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

}  // namespace

std::unique_ptr<RuleSpec> make_adam_mini() {
  return rule_spec<AdamMini>(
      {"adam_mini", "Adam-mini: AdamW with one second moment per block of a partition", true});
}

}  // namespace blockwise
