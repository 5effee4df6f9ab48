#include "experiments/command_line/replay_options.hpp"

#include <CLI/CLI.hpp>

#include "experiments/command_line/set_option.hpp"

namespace blockwise {

void add_options(CLI::App& verb, ReplayOptions& options) {
  verb.add_option("file", options.file,
                  "safetensors file with param/NAME and, for steps from 1 on, grad/STEP/NAME; "
                  "docs/replay.md says what else it may hold")
      ->required();
  verb.add_option("--rule", options.rule, "one of `blockwise list optimizers`")->required();
  add_set_option(verb, options.assignments);
  verb.get_option("--set")->description(
      "option of the rule, or any other key of the section `optimizer`, such as weight_decay=0.1; "
      "gradient_clip is 0 unless it is set here; may be repeated");
  verb.add_option(
          "--role", options.roles,
          "NAME=ROLE, such as wte=token_embedding, over the file's metadata; without one a "
          "parameter is a hidden matrix, or a vector where it has one axis; may be repeated")
      ->take_all()
      ->allow_extra_args(false);
  verb.add_option("--heads", options.heads,
                  "NAME=COUNT, attention heads of a parameter, for rules that follow them; may be "
                  "repeated")
      ->take_all()
      ->allow_extra_args(false);
  verb.add_option("--layer", options.layers,
                  "NAME=NUMBER, from 0 on, the layer of a parameter, for rules that go by layers; "
                  "may be repeated")
      ->take_all()
      ->allow_extra_args(false);
  verb.add_option("--seed", options.seed,
                  "of what a rule draws, where the file has no random/DRAW/NAME")
      ->check(CLI::Range(std::int64_t{0}, std::int64_t{1} << 62))
      ->capture_default_str();
  verb.add_option(
          "--output", options.output,
          "safetensors file to write: param/STEP/NAME after every step and the state at the "
          "end, state/KIND/NAME")
      ->required();
}

}  // namespace blockwise
