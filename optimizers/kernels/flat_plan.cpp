#include "optimizers/kernels/flat_plan.hpp"

#include <algorithm>
#include <map>
#include <stdexcept>

namespace blockwise::kernels {
namespace {

using Moment = FlatSection::Moment;
using Rates = FlatSection::Rates;

std::int64_t ceil_divide(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

// A section with its tiles no larger than itself, and in the simplest of the forms that are equal.
struct Cut {
  FlatSection section;
  std::int64_t tile_rows, tile_columns, across;

  explicit Cut(const FlatSection& s)
      : section(s),
        tile_rows(std::min(s.tile_rows, s.rows)),
        tile_columns(s.moment == Moment::factored ? 1 : std::min(s.tile_columns, s.columns)),
        across(ceil_divide(s.columns, tile_columns)) {
    if (s.moment == Moment::tiles && tile_rows == 1 && tile_columns == 1) {
      section.moment = Moment::elements;
    }
    if (is_uniform()) {
      tile_rows = section.rows;
      tile_columns = section.columns;
      across = 1;
    }
  }

  // Nothing of the tiles is looked at.
  bool is_uniform() const {
    return section.rates != Rates::per_tile &&
           (section.moment == Moment::elements || section.moment == Moment::none);
  }
  bool rates_per_element() const {
    return section.rates == Rates::per_tile && tile_rows == 1 && tile_columns == 1 &&
           section.moment != Moment::factored;
  }
  bool is_consecutive() const {
    return section.moment != Moment::factored &&
           (tile_columns == section.columns || rates_per_element());
  }
  std::int64_t bands() const { return ceil_divide(section.rows, tile_rows); }
  std::int64_t band_rows(std::int64_t band) const {
    return std::min(tile_rows, section.rows - band * tile_rows);
  }
  bool shares() const {
    return section.moment == Moment::tiles || section.moment == Moment::factored;
  }
};

class Planner {
 public:
  explicit Planner(std::vector<FlatSection> sections) {
    for (auto& section : sections) {
      if (section.rests) forget_moment(section);
      reserve_merged(section);
    }
    for (auto& [number, merged] : merged_) {
      merged.first = plan_.partials;
      merged.next = merged.first;
      plan_.partials += merged.slots;
    }
    for (const auto& section : sections) add(section);
  }
  FlatPlan take() {
    plan_.tensor_pieces.push_back(std::int64_t(plan_.pieces.size()));
    return std::move(plan_);
  }

 private:
  // Slots of sections that share one value lie one behind the other.
  struct Merged {
    std::int64_t slots = 0, first = 0, next = 0;
    double elements = 0;
  };

  // What stays as it is has no value to update.
  static void forget_moment(FlatSection& s) {
    s.moment = Moment::none;
    s.rates = Rates::step;
    s.merged = -1;
  }

  void reserve_merged(const FlatSection& s) {
    if (s.merged < 0) return;
    if (s.moment != Moment::tiles || s.tile_rows < s.rows || s.tile_columns < s.columns) {
      throw std::invalid_argument("a merged section is one tile");
    }
    auto& merged = merged_[s.merged];
    merged.slots += ceil_divide(s.rows * s.columns, kSegment);
    merged.elements += double(s.rows * s.columns);
  }

  void add(const FlatSection& section) {
    const auto open = std::int64_t(plan_.tensor_pieces.size()) - 1;
    if (section.tensor != open && section.tensor != open + 1) {
      throw std::invalid_argument("sections are in the order of their tensors");
    }
    if (section.tensor == open + 1) {
      plan_.tensor_pieces.push_back(std::int64_t(plan_.pieces.size()));
    }
    if (section.rows * section.columns == 0) return;
    const Cut cut(section);
    if (section.merged >= 0) {
      add_merged(section);
    } else if (cut.is_consecutive()) {
      add_tiles_of_rows(cut);
    } else {
      for (std::int64_t band = 0; band < cut.bands(); ++band) add_band(cut, band);
    }
  }

  static Piece piece_of(const FlatSection& s) {
    Piece piece;
    piece.begin = s.begin;
    piece.value = s.value;
    piece.rate = s.rate;
    const auto set = [&](bool holds, Piece::Flag flag) { piece.flags |= holds ? flag : 0u; };
    set(s.moment == Moment::elements, Piece::per_element);
    set(s.moment == Moment::none, Piece::no_moment);
    set(s.moment == Moment::factored, Piece::factored);
    set(s.rates == Rates::step, Piece::rate_of_step);
    set(s.decays, Piece::decays);
    set(s.rests, Piece::rests);
    return piece;
  }

  void share(std::int64_t value, std::int64_t partial, std::int64_t slots, double elements) {
    plan_.values.push_back({value, partial, 0, std::int32_t(slots), 1, elements});
  }

  // Pieces of one segment each over `size` elements.
  void add_run(Piece piece, std::int64_t size) {
    const auto first = piece;
    for (std::int64_t at = 0; at < size; at += kSegment) {
      piece.begin = first.begin + at;
      if (piece.is(Piece::per_element)) piece.value = first.value + at;
      if (piece.is(Piece::rate_per_element)) piece.rate = first.rate + at;
      if (first.partial >= 0) piece.partial = first.partial + at / kSegment;
      piece.length = std::int32_t(std::min(kSegment, size - at));
      piece.count = 1;
      plan_.pieces.push_back(piece);
    }
  }

  void add_merged(const FlatSection& s) {
    auto& merged = merged_[s.merged];
    auto piece = piece_of(s);
    piece.partial = merged.next;
    if (s.rates == Rates::per_tile) piece.flags |= Piece::rate_per_tile;
    merged.next += ceil_divide(s.rows * s.columns, kSegment);
    add_run(piece, s.rows * s.columns);
    share(s.value, merged.first, merged.slots, merged.elements);
  }

  // Tiles of whole rows, or elements: one behind the other.
  void add_tiles_of_rows(const Cut& cut) {
    const auto& s = cut.section;
    auto piece = piece_of(s);
    if (cut.rates_per_element()) piece.flags |= Piece::rate_per_element;
    if (cut.is_uniform() || cut.rates_per_element()) {
      add_run(piece, s.rows * s.columns);
      return;
    }
    if (s.rates == Rates::per_tile) piece.flags |= Piece::rate_per_tile;
    const auto size = cut.tile_rows * s.columns, whole = s.rows / cut.tile_rows;
    // A moment of each element may lie elsewhere than its element in groups of four: such a piece
    // is stepped one by one, at one rate.
    if (size <= kWarpSegment && !piece.is(Piece::per_element)) {
      const auto together = std::min(kSegmentsPerPiece, kSegment / size);
      for (std::int64_t tile = 0; tile < whole; tile += together) {
        add_segments(piece, cut, tile, std::min(together, whole - tile));
      }
    } else {
      for (std::int64_t tile = 0; tile < whole; ++tile) add_segments(piece, cut, tile, 1);
    }
    if (whole < cut.bands()) add_segments(piece, cut, whole, 1);
  }

  // `count` tiles from number `tile` on, all of one size.
  void add_segments(Piece piece, const Cut& cut, std::int64_t tile, std::int64_t count) {
    const auto& s = cut.section;
    const auto size = cut.band_rows(tile) * s.columns;
    piece.begin += tile * cut.tile_rows * s.columns;
    piece.value += piece.is(Piece::per_element) ? piece.begin - s.begin : tile;
    piece.rate += piece.is(Piece::rate_per_tile) ? tile : 0;
    if (cut.shares()) {
      const auto slots = ceil_divide(size, kSegment);
      piece.partial = plan_.partials;
      for (std::int64_t i = 0; i < count; ++i) {
        share(piece.value + i, plan_.partials + i * slots, slots, double(size));
      }
      plan_.partials += count * slots;
    }
    if (size > kSegment) {
      add_run(piece, size);
    } else {
      piece.length = std::int32_t(size);
      piece.count = std::int32_t(count);
      plan_.pieces.push_back(piece);
    }
  }

  // A band of tiles that are narrower than the matrix, or a factored group: strips.
  void add_band(const Cut& cut, std::int64_t band) {
    const auto& s = cut.section;
    const auto rows = cut.band_rows(band);
    const bool factored = s.moment == Moment::factored;
    auto piece = piece_of(s);
    piece.flags |= Piece::strip;
    if (s.rates == Rates::per_tile && !factored) piece.flags |= Piece::rate_per_tile;
    piece.rate += s.rates != Rates::per_tile ? 0 : factored ? band : band * cut.across;
    piece.stride = s.columns;
    piece.tile_columns = std::int32_t(cut.tile_columns);
    piece.begin += band * cut.tile_rows * s.columns;
    if (piece.is(Piece::per_element)) {
      piece.value += piece.begin - s.begin;
    } else {
      piece.value += (factored ? s.rows : 0) + band * cut.across;
    }
    if (factored) add_group(piece, cut, band);
    if (cut.shares()) {
      piece.partial = plan_.partials;
      share_columns(piece, cut, rows);
      plan_.partials += ceil_divide(rows, kStripRows) * s.columns;
    }
    add_strips(piece, rows);
  }

  void add_group(Piece& piece, const Cut& cut, std::int64_t band) {
    const auto& s = cut.section;
    const auto rows = cut.band_rows(band), slots = ceil_divide(s.columns, kStripColumns);
    piece.group = std::int32_t(plan_.groups.size());
    piece.row_value = s.value + band * cut.tile_rows;
    piece.row_slots = std::int32_t(slots);
    piece.row_partial = plan_.partials;
    plan_.groups.push_back({piece.row_value, rows});
    for (std::int64_t i = 0; i < rows; ++i) {
      share(piece.row_value + i, plan_.partials + i * slots, slots, double(s.columns));
    }
    plan_.partials += rows * slots;
  }

  // One value per tile along the columns: the strips' sums of its columns.
  void share_columns(const Piece& piece, const Cut& cut, std::int64_t rows) {
    const auto columns = cut.section.columns;
    for (std::int64_t tile = 0; tile < cut.across; ++tile) {
      const auto first = tile * cut.tile_columns;
      const auto width = std::min(cut.tile_columns, columns - first);
      plan_.values.push_back({piece.value + tile, piece.partial + first, columns,
                              std::int32_t(width), std::int32_t(ceil_divide(rows, kStripRows)),
                              double(rows) * double(width)});
    }
  }

  void add_strips(const Piece& band, std::int64_t rows) {
    for (std::int64_t row = 0; row < rows; row += kStripRows) {
      for (std::int64_t column = 0; column < band.stride; column += kStripColumns) {
        auto piece = band;
        const auto at = row * band.stride + column;
        const auto tile = column / band.tile_columns;
        piece.begin += at;
        piece.value += piece.is(Piece::per_element) ? at : tile;
        piece.rate += piece.is(Piece::rate_per_tile) ? tile : 0;
        piece.row_value += row;
        if (band.partial >= 0) piece.partial += row / kStripRows * band.stride + column;
        piece.row_partial += row * band.row_slots + column / kStripColumns;
        piece.first_column = std::int32_t(column % band.tile_columns);
        piece.length = std::int32_t(std::min(kStripColumns, band.stride - column));
        piece.count = std::int32_t(std::min(kStripRows, rows - row));
        plan_.pieces.push_back(piece);
      }
    }
  }

  FlatPlan plan_{.tensor_pieces = {}};
  std::map<std::int64_t, Merged> merged_;
};

}  // namespace

FlatPlan make_flat_plan(const std::vector<FlatSection>& sections) {
  return Planner(sections).take();
}

}  // namespace blockwise::kernels
