// The verbs of the program: their names, what they are for, what they can be told.
#pragma once

#include <CLI/App.hpp>

#include <string>
#include <variant>
#include <vector>

#include "experiments/command_line/bench_options.hpp"
#include "experiments/command_line/curves_options.hpp"
#include "experiments/command_line/data_options.hpp"
#include "experiments/command_line/eval_options.hpp"
#include "experiments/command_line/export_options.hpp"
#include "experiments/command_line/generate_options.hpp"
#include "experiments/command_line/list_options.hpp"
#include "experiments/command_line/partition_options.hpp"
#include "experiments/command_line/plan_options.hpp"
#include "experiments/command_line/replay_options.hpp"
#include "experiments/command_line/report_options.hpp"
#include "experiments/command_line/search_lr_options.hpp"
#include "experiments/command_line/spectrum_options.hpp"
#include "experiments/command_line/sweep_options.hpp"
#include "experiments/command_line/train_options.hpp"

namespace blockwise {

// What a verb was told; which of them says which verb.
using VerbOptions =
    std::variant<TrainOptions, SweepOptions, ReportOptions, CurvesOptions, DataOptions, PlanOptions,
                 EvalOptions, GenerateOptions, ExportOptions, SpectrumOptions, PartitionOptions,
                 SearchLrOptions, BenchOptions, ReplayOptions, ListOptions>;

struct Verb {
  std::string name;
  std::string doc;
  std::string example;  // shown under --help
  VerbOptions options;  // where nothing is said
  void (*add_options)(CLI::App& verb, VerbOptions& options);
};

// In the order of the help.
const std::vector<Verb>& verbs();

}  // namespace blockwise
