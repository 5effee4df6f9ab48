#include "experiments/command_line/generate_options.hpp"

#include <CLI/CLI.hpp>

namespace blockwise {
namespace {

// CLI::Range writes a small bound as 0.
CLI::Validator share() {
  return CLI::Validator(
      [](const std::string& text) {
        double value = 0.0;
        const bool is_number = CLI::detail::lexical_cast(text, value);
        return is_number && value > 0.0 && value <= 1.0
                   ? std::string()
                   : "Value " + text + " not above 0 and up to 1";
      },
      "FLOAT above 0, up to 1");
}

}  // namespace

void add_options(CLI::App& verb, GenerateOptions& options) {
  auto& sampling = options.sampling;
  verb.add_option(
          "--model", options.model,
          "run, checkpoint, Hugging Face folder, model file of llm.c, or a .yaml: its fresh model")
      ->required();
  verb.add_option("--prompt", options.prompt, "text to continue")->required();
  verb.add_option("--tokens", sampling.tokens, "tokens to write at most")
      ->check(CLI::Range(1, 1 << 24))
      ->capture_default_str();
  verb.add_option("--temperature", sampling.temperature, "0 always takes the likeliest token")
      ->check(CLI::Range(0.0, 100.0))
      ->capture_default_str();
  verb.add_option("--top-k", sampling.top_k, "only the k likeliest tokens; 0: all")
      ->check(CLI::Range(std::int64_t{0}, std::int64_t{1} << 31))
      ->capture_default_str();
  verb.add_option("--top-p", sampling.top_p, "only the likeliest that hold this probability")
      ->check(share())
      ->capture_default_str();
  verb.add_option("--seed", sampling.seed, "of the draws")->capture_default_str();
  verb.add_option("--tokenizer", options.tokenizer,
                  "tokenizer.json, a folder with one, or byte, instead of the model's own");
  auto* eos = verb.add_option("--eos", options.eos,
                              "numbers of the tokens that end the text; without it those of the "
                              "model's generation_config.json or config.json")
                  ->check(CLI::Range(std::int64_t{0}, std::int64_t{1} << 31))
                  ->delimiter(',');
  verb.add_flag("--ignore-eos", options.ignore_eos, "write on behind such a token")->excludes(eos);
  verb.add_option("--device", options.device, "auto, cpu or cuda")
      ->check(CLI::IsMember({"auto", "cpu", "cuda"}))
      ->capture_default_str();
  verb.add_option("--threads", options.threads,
                  "CPU threads; 0: OMP_NUM_THREADS, or else all cores")
      ->check(CLI::Range(0, 4096));
}

}  // namespace blockwise
