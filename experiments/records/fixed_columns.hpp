// Tables of an HDF5 file that are written once, column by column.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/io/hdf5_file.hpp"

namespace blockwise {

// value(item) of every item as text.
template <typename Items, typename Value>
void write_texts(Hdf5File& file, const std::string& path, const Items& items, const char* doc,
                 const Value& value) {
  std::vector<std::string> texts;
  for (const auto& item : items) texts.emplace_back(value(item));
  file.write_text_column(path, texts, "text", doc);
}

// value(item) of every item as whole number.
template <typename Items, typename Value>
void write_numbers(Hdf5File& file, const std::string& path, const Items& items, const char* doc,
                   const Value& value) {
  std::vector<std::int64_t> numbers;
  for (const auto& item : items) numbers.push_back(value(item));
  file.create_integer_column(path, "1", doc);
  file.append(path, numbers);
}

}  // namespace blockwise
