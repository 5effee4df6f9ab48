#include "core/io/json_file.hpp"

#include <algorithm>

#include "core/base/error.hpp"

namespace blockwise {
namespace {

using Json = nlohmann::ordered_json;

// "LINE:COLUMN" of the byte at which the parser stopped; both count from 1.
std::string position(std::string_view text, std::size_t byte) {
  const auto read = text.substr(0, std::min(byte == 0 ? 0 : byte - 1, text.size()));
  const auto lines = std::count(read.begin(), read.end(), '\n');
  const auto start = read.rfind('\n');
  return fmt::format("{}:{}", lines + 1,
                     start == std::string_view::npos ? read.size() + 1 : read.size() - start);
}

// The library says no place, but the number's text: "... number overflow parsing '1e999'".
std::string number_in(const Json::out_of_range& error) {
  const std::string_view text = error.what();
  const auto quote = text.find('\'');
  return std::string(text.substr(quote == text.npos ? 0 : quote));
}

}  // namespace

Json parse_json(std::string_view text, std::string_view place) {
  const auto shallow = [place](int depth, Json::parse_event_t, Json&) {
    require_input(depth <= kMaxJsonDepth, "{}: nested deeper than {} levels", place, kMaxJsonDepth);
    return true;
  };
  try {
    return Json::parse(text.begin(), text.end(), shallow);
  } catch (const Json::parse_error& error) {
    throw InputError(fmt::format("{}:{}: not JSON{}", place, position(text, error.byte),
                                 text.empty() ? ": the file is empty" : ""));
  } catch (const Json::out_of_range& error) {
    throw InputError(fmt::format("{}: the number {} is out of range", place, number_in(error)));
  }
}

Json read_json_file(const std::filesystem::path& path, std::size_t limit) {
  return parse_json(read_text_file(path, limit), path.string());
}

}  // namespace blockwise
