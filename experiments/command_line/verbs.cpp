#include "experiments/command_line/verbs.hpp"

#include <utility>

namespace blockwise {
namespace {

template <typename Options>
Verb verb(std::string name, std::string doc, std::string example) {
  const auto add = [](CLI::App& app, VerbOptions& options) {
    add_options(app, std::get<Options>(options));
  };
  return {std::move(name), std::move(doc), std::move(example), Options{}, add};
}

}  // namespace

const std::vector<Verb>& verbs() {
  static const std::vector<Verb> table = {
      verb<TrainOptions>(
          "train", "One training run from a YAML file; resumes by itself where it stopped",
          "blockwise train configs/gpt2-tiny.yaml --set optimizer.learning_rate=3e-3"),
      verb<SweepOptions>(
          "sweep",
          "A grid or a random draw of runs from one YAML file; grows, and runs what is missing or "
          "failed",
          "blockwise sweep configs/quickstart.yaml --jobs 2"),
      verb<ReportOptions>("report",
                          "Tables of a sweep or a run: losses with intervals, tests, memory, time",
                          "blockwise report runs/quickstart --csv > quickstart.csv"),
      verb<CurvesOptions>(
          "curves",
          "Curves of a sweep or a run for other tools: CSV, TensorBoard, Weights & Biases",
          "blockwise curves runs/quickstart --csv > curves.csv"),
      verb<DataOptions>("data", "Token files from text",
                        "blockwise data --train a.txt b.txt --validation c.txt --output data/mine"),
      verb<PlanOptions>(
          "plan",
          "Memory, checkpoint size, FLOPs and devices of a run, before anything is allocated",
          "blockwise plan configs/llama-7b-lomo.yaml --device-memory 80GB"),
      verb<EvalOptions>(
          "eval", "Loss, perplexity and bits per byte of a model on a token file",
          "blockwise eval --model runs/gpt2-tiny --tokens data/austen-byte/validation.bin"),
      verb<GenerateOptions>(
          "generate", "Text sampled from a model, as it comes",
          "blockwise generate --model runs/gpt2-tiny --prompt \"It was\" --tokens 200 --top-p 0.9"),
      verb<ExportOptions>("export",
                          "A run, a checkpoint or a file of llm.c as a Hugging Face folder",
                          "blockwise export --model runs/gpt2-tiny --output exported --dtype bf16"),
      verb<SpectrumOptions>(
          "spectrum",
          "Curvature of a model: eigenpairs, densities, traces, blocks; with error bars",
          "blockwise spectrum --model runs/gpt2-tiny --tokens data/austen-byte/train.bin"),
      verb<PartitionOptions>(
          "partition",
          "A partition from the Hessian or from gradients, as a file for optimizer.partition",
          "blockwise partition configs/gpt2-tiny.yaml --model runs/gpt2-tiny --max-state 0.01"),
      verb<SearchLrOptions>(
          "search-lr",
          "The best learning rate of every block of a partition, as a file for optimizer.block_lr",
          "blockwise search-lr configs/gpt2-tiny.yaml --set optimizer.rule=blockwise_sgd --method "
          "curvature"),
      verb<BenchOptions>(
          "bench",
          "This machine's limits, and the share of them that updates, codecs, products and steps "
          "reach",
          "blockwise bench optimizers --parameters 10000000"),
      verb<ReplayOptions>(
          "replay",
          "What an optimizer makes of recorded gradients, to compare it with another program's",
          "blockwise replay recorded.safetensors --rule adamw --set learning_rate=1e-3 "
          "--output replayed.safetensors"),
      verb<ListOptions>(
          "list", "Optimizers, models, data sets, schedules, partition rules and their options",
          "blockwise list optimizers")};
  return table;
}

}  // namespace blockwise
