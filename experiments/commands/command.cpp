#include "experiments/commands/command.hpp"

#include <c10/util/Exception.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <memory>
#include <string_view>
#include <system_error>

#include "core/base/error.hpp"
#include "core/io/truncated_input.hpp"
#include "core/text/printable_text.hpp"
#include "experiments/commands/command_line.hpp"
#include "experiments/commands/help_format.hpp"
#include "experiments/records/exit_code.hpp"
#include "experiments/records/provenance.hpp"
#include "experiments/terminal/terminal.hpp"

namespace blockwise {

CommandAction add_train_options(CLI::App& verb);
CommandAction add_sweep_options(CLI::App& verb);
CommandAction add_report_options(CLI::App& verb);
CommandAction add_curves_options(CLI::App& verb);
CommandAction add_data_options(CLI::App& verb);
CommandAction add_plan_options(CLI::App& verb);
CommandAction add_eval_options(CLI::App& verb);
CommandAction add_generate_options(CLI::App& verb);
CommandAction add_export_options(CLI::App& verb);
CommandAction add_spectrum_options(CLI::App& verb);
CommandAction add_partition_options(CLI::App& verb);
CommandAction add_search_lr_options(CLI::App& verb);
CommandAction add_replay_options(CLI::App& verb);
CommandAction add_list_options(CLI::App& verb);
CommandAction add_bench_options(CLI::App& verb);

void print_note(const std::string& note) {
  if (note.empty()) return;
  const auto text = fmt::format("blockwise: note: {}\n", note);
  fmt::print(stderr, "{}", wrapped(text, columns_of(STDERR_FILENO), 2));
}

const std::vector<Command>& commands() {
  static const std::vector<Command> table = {
      {"train", "One training run from a YAML file; resumes by itself where it stopped",
       "blockwise train configs/gpt2-tiny.yaml --set optimizer.learning_rate=3e-3",
       add_train_options},
      {"sweep",
       "A grid or a random draw of runs from one YAML file; grows, and runs what is missing or "
       "failed",
       "blockwise sweep configs/quickstart.yaml --jobs 2", add_sweep_options},
      {"report", "Tables of a sweep or a run: losses with intervals, tests, memory, time",
       "blockwise report runs/quickstart --csv > quickstart.csv", add_report_options},
      {"curves", "Curves of a sweep or a run for other tools: CSV, TensorBoard, Weights & Biases",
       "blockwise curves runs/quickstart --csv > curves.csv", add_curves_options},
      {"data", "Token files from text",
       "blockwise data --train a.txt b.txt --validation c.txt --output data/mine",
       add_data_options},
      {"plan", "Memory, checkpoint size, FLOPs and devices of a run, before anything is allocated",
       "blockwise plan configs/llama-7b-lomo.yaml --device-memory 80GB", add_plan_options},
      {"eval", "Loss, perplexity and bits per byte of a model on a token file",
       "blockwise eval --model runs/gpt2-tiny --tokens data/austen-byte/validation.bin",
       add_eval_options},
      {"generate", "Text sampled from a model, as it comes",
       "blockwise generate --model runs/gpt2-tiny --prompt \"It was\" --tokens 200 --top-p 0.9",
       add_generate_options},
      {"export", "A run, a checkpoint or a file of llm.c as a Hugging Face folder",
       "blockwise export --model runs/gpt2-tiny --output exported --dtype bf16",
       add_export_options},
      {"spectrum", "Curvature of a model: eigenpairs, densities, traces, blocks; with error bars",
       "blockwise spectrum --model runs/gpt2-tiny --tokens data/austen-byte/train.bin",
       add_spectrum_options},
      {"partition",
       "A partition from the Hessian or from gradients, as a file for optimizer.partition",
       "blockwise partition configs/gpt2-tiny.yaml --model runs/gpt2-tiny --max-state 0.01",
       add_partition_options},
      {"search-lr",
       "The best learning rate of every block of a partition, as a file for optimizer.block_lr",
       "blockwise search-lr configs/gpt2-tiny.yaml --set optimizer.rule=blockwise_sgd --method "
       "curvature",
       add_search_lr_options},
      {"bench",
       "This machine's limits, and the share of them that updates, codecs, products and steps "
       "reach",
       "blockwise bench optimizers --parameters 10000000", add_bench_options},
      {"replay",
       "What an optimizer makes of recorded gradients, to compare it with another program's",
       "blockwise replay recorded.safetensors --rule adamw --set learning_rate=1e-3 "
       "--output replayed.safetensors",
       add_replay_options},
      {"list", "Optimizers, models, data sets, schedules, partition rules and their options",
       "blockwise list optimizers", add_list_options},
  };
  return table;
}

namespace {

int parse_and_run(CLI::App& program, int argc, char** argv) {
  std::vector<std::pair<CLI::App*, CommandAction>> actions;
  for (const auto& command : commands()) {
    auto* verb = program.add_subcommand(command.name, command.doc);
    verb->footer("Example:\n" + wrapped_command("  " + command.example, columns_of(STDOUT_FILENO)));
    actions.emplace_back(verb, command.add_options(*verb));
  }
  if (parse_command_line(program, argc, argv)) return 0;
  for (const auto& [verb, action] : actions) {
    if (verb->parsed()) return action();
  }
  return 2;
}

// LibTorch's messages have several lines; what is in a line may come from a file. Standard error
// may be what fails; there is nowhere else to say it.
int fail(int code, std::string_view what) {
  std::string text = "blockwise: ";
  while (!what.empty()) {
    const auto line = what.substr(0, what.find('\n'));
    text += printable(line) + "\n";
    what.remove_prefix(std::min(what.size(), line.size() + 1));
  }
  text = wrapped(text, columns_of(STDERR_FILENO), 2);
  std::fwrite(text.data(), 1, text.size(), stderr);
  return code;
}

int fail_to_print(const char* reason) {
  return fail(1, fmt::format("standard output: cannot be written: {}", reason));
}

// fmt::print throws one of these, and so do the functions of std::filesystem. A name that can be no
// file's is bad input; a folder that cannot be made is the run's failure.
int failure_of_system(const std::system_error& error) {
  const auto reason = error.code().message();
  if (std::ferror(stdout) != 0) return fail_to_print(reason.c_str());
  const auto* file = dynamic_cast<const std::filesystem::filesystem_error*>(&error);
  if (file == nullptr) return fail(1, fmt::format("the run failed: {}", error.what()));
  const auto place = fmt::format("{}: {}", file->path1().string(), reason);
  const bool bad_name = error.code() == std::errc::too_many_symbolic_link_levels ||
                        error.code() == std::errc::filename_too_long;
  return bad_name ? fail(2, place) : fail(1, "the run failed: " + place);
}

int run_and_explain(CLI::App& program, int argc, char** argv) {
  try {
    return parse_and_run(program, argc, argv);
  } catch (const InputError& error) {
    return fail(2, error.what());
  } catch (const std::system_error& error) {
    return failure_of_system(error);
  } catch (const c10::Error& error) {
    return fail(1, fmt::format("the run failed: {}", error.what_without_backtrace()));
  } catch (const std::exception& error) {
    return fail(1, fmt::format("the run failed: {}", error.what()));
  }
}

// What was printed counts when it has arrived: a full disk shows only here.
int flush_output(int code) {
  const bool written = std::fflush(stdout) == 0 && std::ferror(stdout) == 0;
  return written || code != 0 ? code : fail_to_print(std::strerror(errno));
}

}  // namespace

int run_program(int argc, char** argv) {
  end_on_truncated_input();
  CLI::App program("blockwise: memory-efficient training and Hessian analysis", "blockwise");
  program.require_subcommand(1);
  program.formatter(std::make_shared<HelpFormat>(columns_of(STDOUT_FILENO)));
  program.set_version_flag("--version", program_version());
  program.footer(
      exit_code_help() +
      "\n`blockwise VERB --help` shows a verb's options and an example.\n"
      "Lines are as wide as the terminal, or as COLUMNS says; in a file or pipe tables are whole.");
  return flush_output(run_and_explain(program, argc, argv));
}

}  // namespace blockwise
