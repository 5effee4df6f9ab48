#include "optimizers/coded_steps.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <numeric>

#include "core/base/checked_math.hpp"
#include "core/base/random_stream.hpp"
#include "core/partition/partition_rows.hpp"

namespace blockwise {
namespace {

constexpr std::int64_t kPieceValues = std::int64_t{1} << 18;

// First rows of pieces whose first element is at a multiple of the codecs' blocks, then the number
// of rows.
std::vector<std::int64_t> aligned_cuts(const UpdateRule& rule, const Parameter& parameter,
                                       const TensorPartition& partition) {
  const auto together = rule.rows_together(parameter, partition);
  const auto values = together * parameter.columns();
  const auto unit = together * (StateCodec::kAlignment / std::gcd(values, StateCodec::kAlignment));
  const auto rows = std::max(unit, kPieceValues / parameter.columns() / unit * unit);
  std::vector<std::int64_t> cuts;
  for (std::int64_t row = 0; row < parameter.rows(); row += rows) cuts.push_back(row);
  cuts.push_back(parameter.rows());
  return cuts;
}

}  // namespace

CodedSteps::CodedSteps(const ParameterStore& parameters, const RuleSet& rules,
                       const Partition& partition, const StateStore& state, bool has_rates)
    : state_(state), device_(parameters.device()) {
  const auto& blocks = parameters.layout().parameters();
  pieces_.resize(blocks.size());
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    if (!state.has_codec(i)) continue;
    const auto& rule = *rules.of(i).rule;
    const auto& tensor = partition.tensors()[i];
    const auto specs = rule.state(blocks[i], tensor);
    if (!has_rates) pieces_[i] = cut(i, rule, blocks[i], tensor);
    if (!pieces_[i].empty()) continue;
    pieces_[i].push_back(
        {blocks[i], tensor, 0, std::vector<std::int64_t>(specs.size(), 0), specs, {}});
  }
}

// Nothing where a codec does not code pieces, or their state does not begin at its blocks.
std::vector<CodedSteps::Piece> CodedSteps::cut(std::size_t i, const UpdateRule& rule,
                                               const Parameter& parameter,
                                               const TensorPartition& partition) const {
  const auto cuts = aligned_cuts(rule, parameter, partition);
  std::vector<Piece> pieces;
  std::vector<std::int64_t> next(state_.of(i).size(), 0);
  for (std::size_t c = 0; c + 1 < cuts.size(); ++c) {
    const auto rows = cuts[c + 1] - cuts[c];
    Piece piece{parameter_rows(parameter, cuts[c], rows),
                partition_rows(partition, cuts[c], rows),
                cuts[c],
                next,
                {},
                {}};
    piece.specs = rule.state(piece.parameter, piece.partition);
    for (std::size_t k = 0; k < next.size(); ++k) next[k] += piece.specs[k].size();
    pieces.push_back(std::move(piece));
  }
  return is_aligned(i, pieces) ? pieces : std::vector<Piece>();
}

bool CodedSteps::is_aligned(std::size_t i, const std::vector<Piece>& pieces) const {
  return std::ranges::all_of(pieces, [&](const Piece& piece) {
    for (std::size_t k = 0; k < piece.state_begin.size(); ++k) {
      const auto* codec = state_.codec(i, k);
      if (codec == nullptr) continue;
      if (piece.state_begin[k] % StateCodec::kAlignment != 0) return false;
      if (!codec->codes_pieces() && pieces.size() > 1) return false;
    }
    return true;
  });
}

bool CodedSteps::is_cut(std::size_t i) const {
  const bool in_pieces = std::ranges::all_of(
      pieces_[i], [](const Piece& piece) { return piece.parameter.size() <= kPieceValues; });
  for (std::size_t k = 0; k < state_.of(i).size(); ++k) {
    if (state_.codec(i, k) != nullptr && !state_.codec(i, k)->codes_pieces()) return false;
  }
  return in_pieces;
}

void CodedSteps::assign(const std::vector<std::size_t>& lanes) {
  const auto count = lanes.empty() ? 0 : std::ranges::max(lanes) + 1;
  for (std::size_t lane = 0; lane < count; ++lane) {
    const auto decoded = largest_of_lane(lanes, lane);
    for (std::size_t i = 0; i < pieces_.size(); ++i) {
      if (lanes[i] == lane) make_states(i, decoded);
    }
  }
}

// By number of the state.
std::vector<at::Tensor> CodedSteps::largest_of_lane(const std::vector<std::size_t>& lanes,
                                                    std::size_t lane) const {
  std::vector<std::int64_t> largest;
  for (std::size_t i = 0; i < pieces_.size(); ++i) {
    if (lanes[i] != lane) continue;
    for (const auto& piece : pieces_[i]) {
      largest.resize(std::max(largest.size(), piece.specs.size()), 0);
      for (std::size_t k = 0; k < piece.specs.size(); ++k) {
        if (piece.specs[k].is_chosen_later()) continue;
        largest[k] = std::max(largest[k], piece.specs[k].size());
      }
    }
  }
  std::vector<at::Tensor> decoded;
  for (const auto size : largest) {
    decoded.push_back(at::empty({size}, at::TensorOptions().dtype(at::kFloat).device(device_)));
  }
  return decoded;
}

// Views of the store, and of the lane's memory where there is a codec.
void CodedSteps::make_states(std::size_t i, const std::vector<at::Tensor>& decoded) {
  for (auto& piece : pieces_[i]) {
    std::vector<at::Tensor> views;
    for (std::size_t k = 0; k < piece.specs.size(); ++k) {
      if (piece.specs[k].is_chosen_later()) {  // of a rule that cuts no rows: one piece
        views.push_back(state_.of(i).load(k));
        continue;
      }
      const auto size = piece.specs[k].size();
      const auto values = state_.codec(i, k) != nullptr ? decoded[k].narrow(0, 0, size)
                                                        : state_.of(i).load(k).view({-1}).narrow(
                                                              0, piece.state_begin[k], size);
      views.push_back(values.view(piece.specs[k].shape));
    }
    piece.state = State(std::move(views));
  }
}

std::vector<std::int64_t> CodedSteps::begins(std::size_t i, std::size_t k) const {
  std::vector<std::int64_t> begins;
  for (const auto& piece : pieces_[i]) begins.push_back(piece.state_begin[k]);
  return begins;
}

void CodedSteps::run(std::size_t i, const ParameterStep& whole, std::uint64_t seed,
                     const std::function<void(const ParameterStep&)>& step) const {
  for (const auto& piece : pieces_[i]) {
    const auto rows = piece.parameter.rows();
    for (std::size_t k = 0; k < piece.specs.size(); ++k) {
      state_.decode(i, k, piece.state_begin[k], piece.state.load(k));
    }
    step({piece.parameter, piece.partition, whole.weight.narrow(0, piece.row_begin, rows),
          whole.gradient.narrow(0, piece.row_begin, rows), piece.state, whole.weight_decay,
          whole.rates, whole.first_element + piece.row_begin * piece.parameter.columns()});
    for (std::size_t k = 0; k < piece.specs.size(); ++k) {
      state_.encode(i, k, piece.state_begin[k], piece.state.load(k), seed);
    }
  }
}

}  // namespace blockwise
