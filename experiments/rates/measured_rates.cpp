#include "experiments/rates/measured_rates.hpp"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <cmath>
#include <fstream>
#include <map>
#include <sstream>

#include "core/base/error.hpp"
#include "core/io/atomic_file.hpp"
#include "core/io/input_file.hpp"
#include "core/memory/device.hpp"
#include "core/partition/section_blocks.hpp"
#include "experiments/curvature/hessian_batches.hpp"
#include "experiments/curvature/kept_products.hpp"
#include "experiments/curvature/measured_store.hpp"
#include "experiments/terminal/stop_signal.hpp"
#include "hessian/curvature_operators.hpp"
#include "hessian/evidence/best_rate.hpp"
#include "hessian/stoppable_operator.hpp"

namespace blockwise {
namespace {

// The file's whole lines, none where there is no file. What a killed process or a full disk left of
// a last line is taken away: the next line would be written behind it, and "1" and "12 3 ..." make
// a line of another sample.
std::string whole_lines(const std::string& path, std::size_t limit) {
  if (!input_exists(path)) return "";
  auto text = read_text_file(path, limit);
  if (text.empty() || text.back() == '\n') return text;
  text.resize(text.rfind('\n') + 1);  // npos + 1 is 0
  write_file_atomically(path, text);
  return text;
}

// Finished samples, a line each; a line that was cut off is measured again.
class ProgressFile {
 public:
  ProgressFile(const std::string& path, const std::string& hash, std::int64_t samples,
               std::size_t targets)
      : path_(path), samples_(samples), targets_(targets) {
    constexpr std::size_t kHead = 4096, kLine = 256;
    const auto lines = static_cast<std::size_t>(samples) * targets;
    std::istringstream file(whole_lines(path, kHead + kLine * lines));
    std::string line;
    if (!std::getline(file, line)) {
      append(hash);
      return;
    }
    require_input(line == hash,
                  "{}: a search with another configuration ({}, this one is {}). Give this one "
                  "another --output, or delete the file.",
                  path, line, hash);
    while (std::getline(file, line)) take(line);
  }

  const CurvatureEnds* find(std::int64_t sample, std::size_t target) const {
    const auto at = done_.find({sample, target});
    return at == done_.end() ? nullptr : &at->second;
  }

  void add(std::int64_t sample, std::size_t target, const CurvatureEnds& r) {
    append(fmt::format("{} {} {} {} {} {} {} end", sample, target, r.largest, r.smallest, r.error,
                       r.smallest_error, r.products));
    done_[{sample, target}] = r;
  }

 private:
  void append(const std::string& line) const {
    std::ofstream file(path_, std::ios::app);
    file << line << "\n";
    file.close();
    if (!file) throw std::runtime_error(fmt::format("{}: cannot be written", path_));
  }

  void take(const std::string& line) {
    std::istringstream words(line);
    std::int64_t sample = 0;
    std::size_t target = 0;
    CurvatureEnds r;
    std::string end;
    words >> sample >> target >> r.largest >> r.smallest >> r.error >> r.smallest_error >>
        r.products >> end;
    if (end != "end") return;
    require_input(sample >= 0 && sample < samples_ && target < targets_,
                  "{}: sample {} of target {}, there are {} of {} targets", path_, sample, target,
                  samples_, targets_);
    require_input(
        r.products >= 0 && r.error >= 0.0 && r.smallest_error >= 0.0,
        "{}: sample {} of target {} has {} products and errors of {} and {}, all are at least 0",
        path_, sample, target, r.products, r.error, r.smallest_error);
    done_[{sample, target}] = r;
  }

  std::string path_;
  std::int64_t samples_;
  std::size_t targets_;
  std::map<std::pair<std::int64_t, std::size_t>, CurvatureEnds> done_;
};

class Measurement {
 public:
  Measurement(const RateMeasurement& what, const std::vector<RateTarget>& targets,
              const std::function<void(const std::string&)>& observe)
      : w_(what),
        targets_(targets),
        observe_(observe),
        device_(resolve_device(what.config.trainer.device)),
        store_(measured_store(what.config, what.layout, device_)),
        model_(what.config.model.spec->build(*store_)),
        result_{false, std::vector<MeasuredRate>(targets.size()), 0} {}

  MeasuredRates run() {
    const auto& c = w_.config.search_lr;
    if (c.needs_products() && !curvature()) return std::move(result_);
    if (c.needs_gradients() && !mean_v()) return std::move(result_);
    result_.finished = true;
    return std::move(result_);
  }

 private:
  bool curvature() {
    const auto samples = w_.config.search_lr.samples;
    ProgressFile progress(w_.progress, w_.hash, samples, targets_.size());
    std::vector<std::vector<CurvatureEnds>> found(targets_.size());
    for (std::int64_t sample = 0; sample < samples; ++sample) {
      if (!curvature_of(sample, progress, found)) return false;
    }
    const double damping = w_.config.search_lr.damping * largest(found);
    for (std::size_t t = 0; t < targets_.size(); ++t) take(found[t], damping, result_.rates[t]);
    return true;
  }

  bool curvature_of(std::int64_t sample, ProgressFile& progress,
                    std::vector<std::vector<CurvatureEnds>>& found) {
    const auto& h = w_.config.hessian;
    Curvature curvature(*model_, *store_, hessian_batches(h, w_.data, device_, h.dtype(), sample),
                        h.product_method());
    for (std::size_t t = 0; t < targets_.size(); ++t) {
      if (stop_requested()) return false;
      const auto* known = progress.find(sample, t);
      if (known == nullptr) {
        const ParameterSubset subset(w_.layout, {targets_[t].tensor});
        const CurvatureOperator tensor(curvature, h.curvature_kind(), subset);
        const RestrictedOperator restricted(tensor, targets_[t].index.to(device_));
        const StoppableOperator block(restricted, stop_requested);
        const KeptProducts kept(block, w_.products,
                                fmt::format("{} sample {} target {}", w_.hash, sample, t));
        auto ends = curvature_ends(kept, w_.config.search_lr.ends_options());
        if (curvature.uses_differences()) {
          // Of both ends.
          ends.error += 2.0 * curvature.difference_step(subset).error;
        }
        progress.add(sample, t, ends);
        kept.forget();
        known = progress.find(sample, t);
      }
      found[t].push_back(*known);
      observe_(w_.layout.blocks()[targets_[t].tensor].name);
    }
    return true;
  }

  static double largest(const std::vector<std::vector<CurvatureEnds>>& found) {
    double most = 0.0;
    for (const auto& samples : found) {
      for (const auto& s : samples) most = std::max(most, s.largest);
    }
    return most;
  }

  void take(const std::vector<CurvatureEnds>& samples, double damping, MeasuredRate& rate) const {
    std::vector<double> rates;
    double widest = 0.0;
    for (const auto& s : samples) {
      const double best = s.best_rate(damping);
      if (best > 0.0) {
        rates.push_back(best);
        widest = std::max(widest, s.error / s.sum(damping));
      }
      rate.largest += s.largest / double(samples.size());
      rate.smallest += s.smallest / double(samples.size());
      rate.smallest_error = std::max(rate.smallest_error, s.smallest_error);
      rate.products += s.products;
    }
    rate.smallest_converged =
        !samples.empty() && rate.smallest_error <= w_.config.search_lr.error * rate.largest;
    if (rates.empty()) return;
    rate.curvature = log_interval(rates);
    rate.curvature.low *= std::max(0.0, 1.0 - widest);
    rate.curvature.high *= 1.0 + widest;
  }

  bool mean_v() {
    const auto moments = second_moments({*model_, *store_, w_.data}, w_.moment_batches,
                                        {stop_requested, [&] { observe_("second moments"); }});
    result_.left_out_batches = moments.left_out;
    for (std::size_t t = 0; t < targets_.size(); ++t) {
      const auto& block = w_.layout.blocks()[targets_[t].tensor];
      std::vector<double> rates;
      for (const auto& moment : moments.groups) {
        const double mean = moment.narrow(0, block.offset, block.size())
                                .index_select(0, targets_[t].index)
                                .mean()
                                .item<double>();
        if (mean > 0.0) rates.push_back(w_.config.optimizer.learning_rate / std::sqrt(mean));
      }
      if (!rates.empty()) result_.rates[t].mean_v = log_interval(rates);
    }
    return true;
  }

  const RateMeasurement& w_;
  const std::vector<RateTarget>& targets_;
  const std::function<void(const std::string&)>& observe_;
  at::Device device_;
  std::unique_ptr<ParameterStore> store_;
  std::unique_ptr<Model> model_;
  MeasuredRates result_;
};

}  // namespace

std::vector<RateTarget> rate_targets(const Partition& partition, const std::string& per) {
  std::vector<RateTarget> targets;
  for (std::size_t t = 0; t < partition.tensors().size(); ++t) {
    const auto& sections = partition.tensors()[t].sections;
    for (std::size_t s = 0; s < sections.size(); ++s) {
      const auto& alone = sections[s];
      const auto first = alone.row_begin * alone.columns;
      const bool whole = per == "section" || alone.structure.kind == Structure::Kind::elements;
      const auto labels = at::tensor(labels_of(alone), at::kLong);
      for (std::int64_t b = 0; b < (whole ? 1 : alone.block_count()); ++b) {
        const auto within =
            whole ? at::arange(alone.size(), at::kLong) : labels.eq(b).nonzero().reshape({-1});
        targets.push_back({t, s, whole ? -1 : b, within + first});
      }
    }
  }
  return targets;
}

MeasuredRates measure_rates(const RateMeasurement& what, const std::vector<RateTarget>& targets,
                            const std::function<void(const std::string&)>& observe) {
  try {
    return Measurement(what, targets, observe).run();
  } catch (const Stopped&) {
    return {false, std::vector<MeasuredRate>(targets.size())};  // the rest is in the two files
  }
}

const PartitionSection& section_of(const Partition& partition, const RateTarget& target) {
  return partition.tensors()[target.tensor].sections[target.section];
}

}  // namespace blockwise
