#include <fmt/format.h>

#include <memory>

#include "experiments/commands/command.hpp"
#include "experiments/prepare_tokens.hpp"

namespace blockwise {

CommandAction add_data_options(CLI::App& verb) {
  auto options = std::make_shared<TokenizerJob>();
  verb.add_option("--train", options->train, "text files to train on, in this order")->required();
  verb.add_option("--validation", options->validation, "text files to evaluate on")->required();
  verb.add_option("--output", options->output, "folder of the token files")->required();
  verb.add_option("--tokenizer", options->tokenizer,
                  "byte: one token per byte; bpe: byte-pair encoding trained on the training text")
      ->check(CLI::IsMember({"byte", "bpe"}))
      ->capture_default_str();
  verb.add_option("--vocab-size", options->vocab_size, "bpe only")
      ->check(CLI::Range(257, 65535))
      ->capture_default_str();
  return [options] {
    prepare_tokens(*options);
    fmt::print("The token files are in {}\n", options->output);
    return 0;
  };
}

}  // namespace blockwise
