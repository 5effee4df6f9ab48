#include "optimizers/kernels/flat_packing.hpp"

#include <algorithm>

#include "optimizers/kernels/flat_plan.hpp"

namespace blockwise::kernels {
namespace {

// First elements of the tensors, in order.
std::vector<std::int64_t> tensor_begins(const std::vector<FlatSection>& sections) {
  std::vector<std::int64_t> begins;
  std::int64_t tensor = -1;
  for (const auto& section : sections) {
    if (section.tensor != tensor) begins.push_back(section.begin);
    tensor = section.tensor;
  }
  return begins;
}

}  // namespace

std::vector<FlatWindow> flat_windows(const FlatPlan& plan, const std::vector<FlatSection>& sections,
                                     std::int64_t unit, std::int64_t most) {
  const auto begins = tensor_begins(sections);
  // A place that pieces before it fill up to is one between windows.
  const auto is_lawful = [&](std::int64_t place) {
    const auto next = std::ranges::upper_bound(begins, place);
    return (place - *(next - 1)) % unit == 0;
  };
  std::vector<FlatWindow> windows;
  FlatWindow open, best;
  std::int64_t covered = 0, reached = 0;
  const auto close = [&] {
    windows.push_back(best);
    open.begin = best.end;
    open.first_piece = best.last_piece;
  };
  for (std::size_t i = 0; i < plan.pieces.size(); ++i) {
    const auto& piece = plan.pieces[i];
    const auto stride = piece.is(Piece::strip) ? piece.stride : piece.length;
    covered += std::int64_t{piece.length} * piece.count;
    reached = std::max(reached, piece.begin + (piece.count - 1) * stride + piece.length);
    const bool is_last = i + 1 == plan.pieces.size();
    if (!is_last && (covered != reached || !is_lawful(covered))) continue;
    if (covered - open.begin > most && best.end > open.begin) close();
    best = {open.begin, covered, open.first_piece, std::int64_t(i) + 1};
    if (covered - open.begin >= most || is_last) close();
  }
  return windows;
}

PackedBuffer pack_buffer(const NumberFormat& format, const std::vector<PackedTensor>& tensors,
                         const std::vector<FlatWindow>& windows) {
  PackedBuffer buffer{format, {}, {0}};
  std::size_t t = 0;
  for (const auto& window : windows) {
    for (auto at = window.begin; at < window.end;) {
      while (tensors[t].begin + tensors[t].size <= at) ++t;
      const auto& tensor = tensors[t];
      const auto first = at - tensor.begin;
      const auto part = std::ranges::upper_bound(tensor.parts, first) - tensor.parts.begin() - 1;
      const bool is_last = part + 1 == std::ssize(tensor.parts);
      const auto part_end = is_last ? tensor.size : tensor.parts[std::size_t(part) + 1];
      const auto place = first - tensor.parts[std::size_t(part)];
      // Codes begin anew in every tensor, so runs follow its own multiples.
      const auto to_multiple = kPackedRun - first % kPackedRun;
      const auto count = std::min({to_multiple, part_end - first, window.end - at});
      buffer.runs.push_back({at, first, place, tensor.first_seed + part,
                             tensor.plain == nullptr ? nullptr : tensor.plain + first,
                             tensor.stored, std::int32_t(count)});
      at += count;
    }
    buffer.first_run.push_back(std::ssize(buffer.runs));
  }
  return buffer;
}

std::int64_t FlatPacking::largest_window() const {
  std::int64_t most = 0;
  for (const auto& window : windows) most = std::max(most, window.end - window.begin);
  return most;
}

}  // namespace blockwise::kernels
