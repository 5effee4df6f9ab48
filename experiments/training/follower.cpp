#include "experiments/training/follower.hpp"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "experiments/config/model_source.hpp"
#include "experiments/records/checkpoint.hpp"
#include "experiments/training/learner.hpp"

namespace blockwise {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

// What the others need of a start.
struct SharedStart {
  bool is_over = false;
  RunOrigin origin;
  std::optional<RunStart::Checkpoint> checkpoint;
};

std::string to_text(const RunStart& start) {
  const auto origin = start.identity.history.origin.value_or(RunOrigin{});
  Json json = {{"over", start.over.has_value()},
               {"step", origin.step},
               {"first_example", origin.first_example},
               {"tokens", origin.tokens}};
  if (start.checkpoint) {
    json["checkpoint"] = {{"folder", start.checkpoint->folder.string()},
                          {"step", start.checkpoint->step},
                          {"hashes", start.checkpoint->hashes}};
  }
  return json.dump();
}

SharedStart from_text(const std::string& text) {
  const auto json = Json::parse(text);
  SharedStart start;
  start.is_over = json.at("over");
  start.origin.step = json.at("step");
  start.origin.first_example = json.at("first_example");
  start.origin.tokens = json.at("tokens");
  if (json.contains("checkpoint")) {
    const auto& kept = json.at("checkpoint");
    start.checkpoint = {kept.at("folder").get<std::string>(), kept.at("step"), kept.at("hashes")};
  }
  return start;
}

RankCommand next_command(const Ranks& ranks) {
  return static_cast<RankCommand>(ranks.number_of_first(0));
}

// Every mean that rank 0 takes at an evaluation.
void take_part_in_evaluation(const ResolvedRun& run, const Learner& learner) {
  learner.mean_loss(run.data->validation_set(), never_stop);
  for (const auto& set : run.data->further_validation_sets()) learner.mean_loss(set, never_stop);
}

std::int64_t start_learner(const ResolvedRun& run, const SharedStart& start, Learner& learner) {
  if (!start.checkpoint) {
    start_parameters(run, learner.store());
    return 0;
  }
  const auto& [folder, step, hashes] = *start.checkpoint;
  load_checkpoint(folder, step, hashes, learner.store(), learner.load_state());
  return step;
}

}  // namespace

void lead(const Ranks& ranks, RankCommand command) {
  ranks.number_of_first(static_cast<std::int64_t>(command));
}

void lead_end(const Ranks& ranks, RunState state) {
  lead(ranks, RankCommand::end);
  ranks.number_of_first(static_cast<std::int64_t>(state));
}

void lead_start(const Ranks& ranks, const RunStart& start) {
  if (!ranks.is_alone()) ranks.text_of_first(to_text(start));
}

void start_parameters(const ResolvedRun& run, ParameterStore& store) {
  if (run.config.model.from.empty()) {
    store.initialize(static_cast<std::uint64_t>(run.config.seed));
  } else {
    open_model(run.config.model.from).load(store);
  }
}

RunOutcome follow(const ResolvedRun& run, at::Device device, const Ranks& ranks) {
  const auto start = from_text(ranks.text_of_first(""));
  RunOutcome outcome;
  outcome.state = RunState::finished;
  if (start.is_over) return outcome;
  Learner learner(run, start.origin, device, ranks);
  outcome.step = start_learner(run, start, learner);
  while (true) {
    switch (next_command(ranks)) {
      case RankCommand::step:
        outcome.step = learner.step(outcome.step).step;
        break;
      case RankCommand::norms:
        learner.optimizer().norms(outcome.step);
        break;
      case RankCommand::evaluate:
        take_part_in_evaluation(run, learner);
        break;
      case RankCommand::test:
        learner.mean_loss(*run.data->test_set(), never_stop);
        break;
      case RankCommand::measure:
        learner.with_curvature([](Curvature& curvature) {
          BasisService basis;
          curvature.serve(&basis);
        });
        break;
      case RankCommand::collect:
        learner.optimizer().collect(ranks.number_of_first(0));
        break;
      case RankCommand::end:
        outcome.state = static_cast<RunState>(ranks.number_of_first(0));
        return outcome;
    }
  }
}

}  // namespace blockwise
