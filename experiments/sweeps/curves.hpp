// Curves: what a sweep's runs, or one run, recorded step by step, as a table for other tools.
//
// Tidy: a row per run, step and quantity, with the columns
//   run, group, seed, stage, (a column per swept setting), step, tokens, seconds, quantity, value
// stage, as in the report's CSV: confirmed for the best configurations on seeds that chose nothing,
// which come last, search for all others;
// step: optimizer steps done; tokens: seen by then; seconds: wall time of the steps up to there,
// without evaluations; quantity: train/loss, train/learning_rate, train/grad_norm,
// train/update_norm, train/tokens_per_second, validation/loss, validation/perplexity, of
// data.validations validation/NAME/loss, and with trainer.norms_every grad_norm/TENSOR,
// update_norm/TENSOR and weight_norm/TENSOR. Losses in nats per token. Numbers in full.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace blockwise {

// Takes a part of the table: the line of column names first, then all lines of one run.
using CurveSink = std::function<void(std::string_view csv)>;

// RFC 4180. Holds one run at a time. Runs that are missing or damaged, or that ran another
// configuration than the sweep's manifest says, are left out; returns a sentence for each. Throws
// InputError for a folder that is neither a sweep's nor a run's and where no run is left.
std::vector<std::string> write_curves(const std::filesystem::path& folder, const CurveSink& sink);

}  // namespace blockwise
