#include "optimizers/schedule.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "core/base/error.hpp"

namespace blockwise {
namespace {

double progress(const ScheduleConfig& c, std::int64_t step, std::int64_t steps) {
  return static_cast<double>(step - c.warmup_steps) /
         static_cast<double>(std::max<std::int64_t>(1, steps - c.warmup_steps));
}

double constant(const ScheduleConfig&, std::int64_t, std::int64_t) { return 1.0; }

double linear(const ScheduleConfig& c, std::int64_t step, std::int64_t steps) {
  return 1.0 - (1.0 - c.final_fraction) * progress(c, step, steps);
}

double cosine(const ScheduleConfig& c, std::int64_t step, std::int64_t steps) {
  const double wave = 0.5 * (1.0 + std::cos(std::numbers::pi * progress(c, step, steps)));
  return c.final_fraction + (1.0 - c.final_fraction) * wave;
}

double wsd(const ScheduleConfig& c, std::int64_t step, std::int64_t steps) {
  const double decay = c.decay_fraction * static_cast<double>(steps);
  const double q = (static_cast<double>(step) - (static_cast<double>(steps) - decay)) / decay;
  return q <= 0.0 ? 1.0 : 1.0 - (1.0 - c.final_fraction) * std::sqrt(q);
}

}  // namespace

const std::vector<ScheduleEntry>& schedules() {
  static const std::vector<ScheduleEntry> entries = {
      {"constant", "the peak rate after the warm-up", constant},
      {"linear", "a straight line down to final_fraction of the peak", linear},
      {"cosine", "half a cosine down to final_fraction of the peak", cosine},
      {"wsd", "the peak rate, then 1-sqrt over the last decay_fraction of the steps", wsd},
  };
  return entries;
}

void ScheduleConfig::visit(FieldVisitor& v) {
  std::vector<std::string> names;
  for (const auto& entry : schedules()) names.push_back(entry.name);
  v.choice({"name", "shape of the learning rate over the run"}, name, names);
  v.integer({"warmup_steps", "steps of linear warm-up"}, warmup_steps, {0, 1 << 30});
  v.integer({"steps", "length of the schedule, at least trainer.steps; 0 means trainer.steps"},
            steps, {0, std::int64_t{1} << 40});
  v.real({"final_fraction", "last rate as a fraction of the peak"}, final_fraction, {0.0, 1.0});
  v.real({"decay_fraction", "wsd only: part of the run that decays"}, decay_fraction,
         {0.0, 1.0, true, false});
}

double schedule_fraction(const ScheduleConfig& config, std::int64_t step, std::int64_t run_steps) {
  const auto steps = config.steps == 0 ? run_steps : config.steps;
  if (step < config.warmup_steps) {
    return static_cast<double>(step + 1) / static_cast<double>(config.warmup_steps);
  }
  for (const auto& entry : schedules()) {
    if (entry.name == config.name) return entry.fraction(config, step, steps);
  }
  throw InputError(fmt::format("unknown schedule '{}'", config.name));
}

}  // namespace blockwise
