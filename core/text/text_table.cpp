#include "core/text/text_table.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <utility>

#include "core/base/error.hpp"

namespace blockwise {
namespace {

using Use = TableColumn::Use;
using Cells = std::vector<std::string>;
using Places = std::vector<std::size_t>;  // of columns

constexpr std::size_t kGap = 2;
constexpr std::size_t kLeastWidth = 16;
constexpr std::size_t kLeastColumn = 6;
constexpr std::size_t kLeastKey = 12;

// Columns and what stands in them, with the widths that they are given.
class Layout {
 public:
  Layout(const std::vector<TableColumn>& columns, const std::vector<Cells>& rows, std::size_t width)
      : columns_(columns), rows_(rows), width_(std::max(width, kLeastWidth)) {
    for (std::size_t i = 0; i < columns.size(); ++i) {
      auto widest = display_width(columns[i].title);
      for (const auto& row : rows) widest = std::max(widest, display_width(row[i]));
      widths_.push_back(widest);
      (columns[i].use == Use::key ? keys_ : values_).push_back(i);
    }
  }

  std::string text() {
    const auto left_out = drop_details();
    narrow_keys();
    narrow();
    std::string out;
    for (const auto& part : parts()) {
      if (!out.empty()) out += '\n';
      out += table(part);
    }
    if (left_out.empty()) return out;
    const auto what = fmt::format("left out for want of room: {}; --wide shows them\n",
                                  fmt::join(left_out, ", "));
    return out + wrapped(what, width_);
  }

 private:
  std::size_t line_width(const Places& places) const {
    std::size_t sum = 0;
    for (const auto i : places) sum += widths_[i] + (sum == 0 ? 0 : kGap);
    return sum;
  }

  Places with_keys(const Places& values) const {
    auto places = keys_;
    places.insert(places.end(), values.begin(), values.end());
    return places;
  }

  // The titles of those that go.
  Cells drop_details() {
    Cells titles;
    for (std::size_t v = values_.size(); v-- > 0 && line_width(with_keys(values_)) > width_;) {
      const auto column = values_[v];
      if (columns_[column].use != Use::detail) continue;
      titles.insert(titles.begin(), columns_[column].title);
      values_.erase(values_.begin() + static_cast<std::ptrdiff_t>(v));
    }
    return titles;
  }

  // Where not all fits: keys take at most half of the line, so that values share a table.
  void narrow_keys() {
    if (line_width(with_keys(values_)) <= width_) return;
    while (!keys_.empty() && line_width(keys_) > width_ / 2) {
      auto& widest = widths_[widest_of(keys_)];
      if (widest <= kLeastKey) return;
      --widest;
    }
  }

  std::size_t widest_of(const Places& places) const {
    return *std::ranges::max_element(places, {}, [this](std::size_t i) { return widths_[i]; });
  }

  // Makes room for the keys and any one value on a line: the widest gives.
  void narrow() {
    for (const auto value : values_.empty() ? keys_ : values_) {
      auto places = values_.empty() ? keys_ : with_keys({value});
      while (line_width(places) > width_) {
        auto& widest = widths_[widest_of(places)];
        if (widest <= kLeastColumn) {
          // Too many keys for this width: the last ones become values.
          if (keys_.size() < 2) break;
          values_.insert(values_.begin(), keys_.back());
          keys_.pop_back();
          return narrow();
        }
        --widest;
      }
    }
  }

  // The values, as many on a line as fit.
  std::vector<Places> parts() const {
    std::vector<Places> parts(1, keys_);
    for (const auto value : values_) {
      auto longer = parts.back();
      longer.push_back(value);
      if (line_width(longer) > width_ && parts.back().size() > keys_.size()) {
        parts.push_back(with_keys({value}));
      } else {
        parts.back() = std::move(longer);
      }
    }
    return parts;
  }

  std::string table(const Places& places) const {
    Cells titles;
    for (const auto& column : columns_) titles.push_back(column.title);
    auto out = row_text(titles, places);
    for (const auto& row : rows_) out += row_text(row, places);
    return out;
  }

  std::string row_text(const Cells& row, const Places& places) const {
    std::vector<Cells> pieces;
    std::size_t lines = 1;
    for (const auto i : places) {
      pieces.push_back(broken(row[i], widths_[i]));
      lines = std::max(lines, pieces.back().size());
    }
    std::string out;
    for (std::size_t line = 0; line < lines; ++line) {
      std::string text;
      for (std::size_t p = 0; p < places.size(); ++p) {
        const auto& cell = line < pieces[p].size() ? pieces[p][line] : std::string();
        if (p > 0) text.append(kGap, ' ');
        text += padded(cell, places[p]);
      }
      out += text.substr(0, text.find_last_not_of(' ') + 1) + "\n";
    }
    return out;
  }

  std::string padded(const std::string& cell, std::size_t column) const {
    const auto taken = display_width(cell);
    const std::string space(widths_[column] - std::min(widths_[column], taken), ' ');
    const bool left = columns_[column].alignment == TableColumn::Alignment::left;
    return left ? cell + space : space + cell;
  }

  const std::vector<TableColumn>& columns_;
  const std::vector<Cells>& rows_;
  std::size_t width_;
  std::vector<std::size_t> widths_;
  Places keys_, values_;  // values: and details
};

}  // namespace

TableColumn key_column(std::string title) {
  return {std::move(title), Use::key, TableColumn::Alignment::left};
}
TableColumn text_column(std::string title) {
  return {std::move(title), Use::value, TableColumn::Alignment::left};
}
TableColumn value_column(std::string title) { return {std::move(title)}; }
TableColumn detail_column(std::string title) { return {std::move(title), Use::detail}; }

TextTable::TextTable(std::vector<TableColumn> columns) : columns_(std::move(columns)) {}

void TextTable::add(std::vector<std::string> cells) {
  check_equal(cells.size(), columns_.size(), "cells of a row and columns of its table");
  rows_.push_back(std::move(cells));
}

std::string TextTable::text(std::size_t width) const {
  return Layout(columns_, rows_, width).text();
}

}  // namespace blockwise
