#include "experiments/partitions/partition_candidates.hpp"

namespace blockwise {
namespace {

using Choice = std::optional<Structure>;

bool heads_along(const SectionView& s, Heads::Axis axis) {
  return s.heads.count > 1 && s.heads.axis == axis;
}

Choice whole(const SectionView& s) { return Structure::tiles(s.rows, s.columns); }

Choice head(const SectionView& s) {
  if (heads_along(s, Heads::Axis::rows)) return Structure::tiles(s.heads.dim, s.columns);
  if (heads_along(s, Heads::Axis::columns)) return Structure::tiles(s.rows, s.heads.dim);
  return std::nullopt;
}

Choice row(const SectionView& s) {
  return s.rows > 1 ? Choice(Structure::tiles(1, s.columns)) : std::nullopt;
}

Choice column(const SectionView& s) {
  return s.columns > 1 ? Choice(Structure::tiles(s.rows, 1)) : std::nullopt;
}

// Groups that would cut across heads say nothing.
Choice rows_8(const SectionView& s) {
  const bool heads = heads_along(s, Heads::Axis::rows);
  const bool fits = heads ? s.heads.dim > 8 && s.heads.dim % 8 == 0 : s.rows > 8;
  return fits ? Choice(Structure::tiles(8, s.columns)) : std::nullopt;
}

Choice head_by_column(const SectionView& s) {
  if (!heads_along(s, Heads::Axis::rows)) return std::nullopt;
  return Structure::tiles(s.heads.dim, 1);
}

Choice tile_16(const SectionView& s) {
  return s.rows > 16 && s.columns > 16 ? Choice(Structure::tiles(16, 16)) : std::nullopt;
}

Choice factored(const SectionView& s) { return Structure::factored(s.rows); }

Choice factored_per_head(const SectionView& s) {
  if (!heads_along(s, Heads::Axis::rows)) return std::nullopt;
  return Structure::factored(s.heads.dim);
}

Choice element(const SectionView&) { return Structure::per_element(); }

}  // namespace

const std::vector<PartitionCandidate>& partition_candidates() {
  static const std::vector<PartitionCandidate> candidates = {
      {"whole", whole},
      {"head", head},
      {"rows_8", rows_8},
      {"row", row},
      {"column", column},
      {"factored", factored},
      {"factored_per_head", factored_per_head},
      {"head_by_column", head_by_column},
      {"tile_16", tile_16},
      {"element", element}};
  return candidates;
}

}  // namespace blockwise
