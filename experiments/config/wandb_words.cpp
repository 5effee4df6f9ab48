#include "experiments/config/wandb_words.hpp"

#include <algorithm>
#include <span>
#include <string_view>

namespace blockwise {
namespace {

struct Hint {
  std::string_view word;
  std::string_view hint;
};

constexpr Hint kSection[] = {
    {"metric", "the report ranks by the final validation loss, lowest first; leave it out"},
    {"program", "every member is a `blockwise train`; leave it out"},
    {"command", "every member is a `blockwise train`; leave it out"},
    {"project", "nothing is sent anywhere; the folder is the key `output` of the file"},
    {"entity", "nothing is sent anywhere; leave it out"},
    {"name", "the sweep's name is the key `name` of the file, outside of `sweep`"},
    {"description", "write it as a comment"},
    {"count", "the number of configurations of method random is run_cap"},
    {"early_terminate", "members run to their end; trainer.divergence_loss ends a hopeless one"},
    {"controller", "there is none; `blockwise sweep --jobs N` runs N members at a time"}};

constexpr Hint kMethods[] = {
    {"bayes", "write random, whose configurations nothing but the seed chooses"},
    {"bayesian", "write random, whose configurations nothing but the seed chooses"}};

constexpr Hint kDomain[] = {
    {"parameters", "a nested key has no values of its own"},
    {"probabilities", "all values are equally likely"},
    {"mu", "normal distributions are not there; write min, max"},
    {"sigma", "normal distributions are not there; write min, max"},
    {"q", "quantised distributions are not there; write values, or int_uniform"}};

constexpr Hint kDistributions[] = {
    {"log_uniform", "write log_uniform_values, whose min and max are values, not exponents"},
    {"inv_log_uniform", "write log_uniform_values, whose min and max are values"},
    {"inv_log_uniform_values", "write log_uniform_values"},
    {"q_log_uniform", "write log_uniform_values, or a list of values"},
    {"q_log_uniform_values", "write log_uniform_values, or a list of values"},
    {"q_uniform", "write uniform, or a list of values"},
    {"normal", "write uniform, with min and max"},
    {"q_normal", "write uniform, with min and max"},
    {"log_normal", "write log_uniform_values, with min and max"},
    {"q_log_normal", "write log_uniform_values, with min and max"},
    {"beta", "write uniform, with min and max"},
    {"categorical", "it goes with values"},
    {"categorical_w_probabilities", "all values are equally likely: leave it out"},
    {"constant", "it goes with value"}};

constexpr Hint kParameters[] = {{"lr", "optimizer.learning_rate"},
                                {"learning_rate", "optimizer.learning_rate"},
                                {"optimizer", "optimizer.rule"},
                                {"wd", "optimizer.weight_decay"},
                                {"weight_decay", "optimizer.weight_decay"},
                                {"beta1", "optimizer.beta1"},
                                {"beta2", "optimizer.beta2"},
                                {"eps", "optimizer.eps"},
                                {"batch_size", "trainer.global_batch_tokens, in tokens"},
                                {"epochs", "trainer.steps"},
                                {"max_iters", "trainer.steps"},
                                {"steps", "trainer.steps"},
                                {"warmup_steps", "schedule.warmup_steps"},
                                {"warmup_iters", "schedule.warmup_steps"},
                                {"dropout", "model.dropout"},
                                {"n_layer", "model.n_layer"},
                                {"n_head", "model.n_head"},
                                {"n_embd", "model.n_embd"},
                                {"block_size", "data.sequence_length"}};

std::string hint_of(std::span<const Hint> hints, const std::string& word) {
  const auto found = std::ranges::find(hints, word, &Hint::word);
  return found == hints.end() ? "" : ": " + std::string(found->hint);
}

}  // namespace

std::string wandb_section_hint(const std::string& key) { return hint_of(kSection, key); }
std::string wandb_method_hint(const std::string& method) { return hint_of(kMethods, method); }
std::string wandb_domain_hint(const std::string& key) { return hint_of(kDomain, key); }
std::string wandb_distribution_hint(const std::string& word) {
  return hint_of(kDistributions, word);
}
std::string wandb_parameter_hint(const std::string& parameter) {
  const auto found = std::ranges::find(kParameters, parameter, &Hint::word);
  return found == std::end(kParameters) ? "" : ", did you mean '" + std::string(found->hint) + "'?";
}

}  // namespace blockwise
