#include "experiments/rates/measured_rates.hpp"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "core/memory/device.hpp"
#include "experiments/curvature/hessian_batches.hpp"
#include "experiments/curvature/kept_products.hpp"
#include "experiments/curvature/led_work.hpp"
#include "experiments/curvature/measured_store.hpp"
#include "experiments/curvature/vectors_in_files.hpp"
#include "experiments/rates/sample_file.hpp"
#include "hessian/curvature_operators.hpp"
#include "hessian/evidence/best_rate.hpp"
#include "hessian/stoppable_operator.hpp"

namespace blockwise {
namespace {

namespace fs = std::filesystem;

std::string samples_path(const ResolvedRateSearch& search) {
  return (fs::path(search.config.output) / "samples.txt").string();
}

std::string products_path(const ResolvedRateSearch& search) {
  return (fs::path(search.config.output) / "products.bin").string();
}

// The model at the point where rates are measured.
struct RatePoint {
  RatePoint(const ResolvedRateSearch& search, const Ranks& shared_by)
      : ranks(shared_by),
        device(resolve_device(search.config.trainer.device)),
        store(measured_store(search.config, search.layout, device)),
        model(search.config.model.spec->build(*store)),
        files(vectors_in_files(search.config, search.layout)) {}

  const Ranks& ranks;
  at::Device device;
  std::unique_ptr<ParameterStore> store;
  std::unique_ptr<Model> model;
  std::unique_ptr<TensorsInFile> files;
};

// ---- curvature ----------------------------------------------------------------------------------

// Targets of one tensor, which share its operator: [first, end).
struct TargetRange {
  std::size_t first = 0, end = 0;
};

std::vector<TargetRange> targets_by_tensor(const std::vector<RateTarget>& targets) {
  std::vector<TargetRange> ranges;
  for (std::size_t i = 0; i < targets.size(); ++i) {
    if (i == 0 || targets[i].tensor != targets[i - 1].tensor) ranges.push_back({i, i});
    ranges.back().end = i + 1;
  }
  return ranges;
}

std::int64_t most_products(const RateSearchConfig& config, const RateTarget& target) {
  return std::min<std::int64_t>(config.products, target.index.numel());
}

Curvature curvature_of(const ResolvedRateSearch& search, const RatePoint& point,
                       std::int64_t sample) {
  const auto& hessian = search.config.hessian;
  return Curvature(*point.model, *point.store,
                   hessian_batches(hessian, *search.data, point.device, hessian.dtype(), sample),
                   hessian.product_method(), point.ranks);
}

// One sample: the ends of every target's spectrum on the sample's batches, those that are not done.
void measure_sample(const ResolvedRateSearch& search, const RatePoint& point, std::int64_t sample,
                    WorkMeter& meter, SampleFile& done) {
  const auto& hessian = search.config.hessian;
  lead_curvature(point.ranks, sample);
  auto curvature = curvature_of(search, point, sample);
  measure_only(hessian.curvature_kind(), curvature);
  for (const auto& range : targets_by_tensor(search.targets)) {
    const auto number = search.targets[range.first].tensor;
    const ParameterSubset subset(search.layout, {number});
    const CurvatureOperator tensor(curvature, hessian.curvature_kind(), subset);
    const MeteredOperator metered(tensor, meter);
    for (auto target = range.first; target < range.end; ++target) {
      meter.require_going();
      if (done.find({sample, target}) == nullptr) {
        const RestrictedOperator block(metered, search.targets[target].index.to(point.device));
        const KeptProducts kept(
            block, products_path(search),
            fmt::format("{} sample {} target {}", search.measured, sample, target));
        auto ends = curvature_ends(kept, search.config.search_lr.ends_options());
        // Of both ends.
        if (curvature.uses_differences())
          ends.error += 2.0 * curvature.difference_step(subset).error;
        done.add({sample, target}, ends);
        kept.forget();
      }
      meter.advance(search.layout.parameters()[number].name);
    }
  }
}

using TargetEnds = std::vector<CurvatureEnds>;  // of one target, by sample

// Of the curvature, over all targets and samples.
double largest_of(const std::vector<TargetEnds>& found) {
  double most = 0.0;
  for (const auto& samples : found) {
    for (const auto& ends : samples) most = std::max(most, ends.largest);
  }
  return most;
}

void take_ends(const TargetEnds& samples, double damping, double tolerance, MeasuredRate& rate) {
  std::vector<double> rates;
  double widest = 0.0;
  for (const auto& ends : samples) {
    const double best = ends.best_rate(damping);
    if (best > 0.0) {
      rates.push_back(best);
      widest = std::max(widest, ends.error / ends.sum(damping));
    }
    rate.largest += ends.largest / double(samples.size());
    rate.smallest += ends.smallest / double(samples.size());
    rate.smallest_error = std::max(rate.smallest_error, ends.smallest_error);
    rate.products += ends.products;
  }
  rate.smallest_converged = !samples.empty() && rate.smallest_error <= tolerance * rate.largest;
  if (rates.empty()) return;
  rate.curvature = log_interval(rates);
  rate.curvature.low *= std::max(0.0, 1.0 - widest);
  rate.curvature.high *= 1.0 + widest;
}

void measure_curvature(const ResolvedRateSearch& search, const RatePoint& point, WorkMeter& meter,
                       std::vector<MeasuredRate>& rates) {
  const auto& config = search.config.search_lr;
  SampleFile done(samples_path(search), search.measured, {config.samples, search.targets.size()});
  std::vector<TargetEnds> found(search.targets.size());
  for (std::int64_t sample = 0; sample < config.samples; ++sample) {
    measure_sample(search, point, sample, meter, done);
    for (std::size_t i = 0; i < found.size(); ++i) found[i].push_back(*done.find({sample, i}));
  }
  const double damping = config.damping * largest_of(found);
  for (std::size_t i = 0; i < found.size(); ++i) {
    take_ends(found[i], damping, config.error, rates[i]);
  }
}

// ---- mean(v) ------------------------------------------------------------------------------------

// From the target's elements in every group's second moment, of all parameters.
RateInterval rate_of_moments(const ResolvedRateSearch& search, const RateTarget& target,
                             const std::vector<at::Tensor>& moments) {
  const auto& parameter = search.layout.parameters()[target.tensor];
  std::vector<double> rates;
  for (const auto& moment : moments) {
    const double mean = moment.narrow(0, parameter.offset, parameter.size())
                            .index_select(0, target.index)
                            .mean()
                            .item<double>();
    if (mean > 0.0) rates.push_back(search.config.optimizer.learning_rate / std::sqrt(mean));
  }
  return rates.empty() ? RateInterval{} : log_interval(rates);
}

SecondMoments moments_at(const ResolvedRateSearch& search, const RatePoint& point,
                         const WorkWatch& watch) {
  return second_moments({*point.model, *point.store, *search.data}, search.moment_batches, watch,
                        point.ranks);
}

void measure_moments(const ResolvedRateSearch& search, const RatePoint& point, WorkMeter& meter,
                     MeasuredRates& measured) {
  const auto& batches = search.moment_batches;
  const auto done = [&] {
    meter.count({0, 0, 0, batches.size(), 0});
    meter.advance("second moments");
  };
  lead_moments(point.ranks);
  const auto moments = moments_at(search, point, {meter.stop(), done});
  measured.left_out_batches = moments.left_out;
  for (std::size_t i = 0; i < search.targets.size(); ++i) {
    measured.rates[i].mean_v = rate_of_moments(search, search.targets[i], moments.groups);
  }
}

}  // namespace

WorkCount curvature_rates_work(const ResolvedRateSearch& search) {
  const auto& config = search.config.search_lr;
  WorkCount work;
  if (!config.needs_products()) return work;
  for (const auto& target : search.targets) {
    const auto products = most_products(config, target) * config.samples;
    work += {products, products, 0, 0, config.samples};
  }
  work.calibrations = std::ssize(targets_by_tensor(search.targets)) * config.samples;
  return work;
}

WorkCount moment_rates_work(const ResolvedRateSearch& search) {
  WorkCount work;
  if (!search.config.search_lr.needs_gradients()) return work;
  work.units = search.moment_batches.of_group() * kMomentGroups;
  work.examples = work.units * search.moment_batches.size();
  return work;
}

MeasuredRates measure_rates(const ResolvedRateSearch& search, WorkMeter& meter,
                            const Ranks& ranks) {
  const auto& config = search.config.search_lr;
  MeasuredRates measured;
  if (!config.needs_products() && !config.needs_gradients()) return measured;
  const RatePoint point(search, ranks);
  measured.rates.resize(search.targets.size());
  if (config.needs_products()) measure_curvature(search, point, meter, measured.rates);
  if (config.needs_gradients()) measure_moments(search, point, meter, measured);
  return measured;
}

std::int64_t serve_rates(const ResolvedRateSearch& search, const Ranks& ranks) {
  const RatePoint point(search, ranks);
  const auto curvature = [&](std::int64_t sample) { curvature_of(search, point, sample).serve(); };
  return serve_work(ranks, {curvature, [&] { moments_at(search, point, {}); }});
}

void forget_measured_rates(const ResolvedRateSearch& search) {
  fs::remove(samples_path(search));
  fs::remove(products_path(search));
}

}  // namespace blockwise
