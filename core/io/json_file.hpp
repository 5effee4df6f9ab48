// JSON that somebody else wrote: bounded in size and depth, and an error that says where.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "core/io/input_file.hpp"

namespace blockwise {

// Deepest nesting that is accepted. The files of this field need 10 (tokenizer.json); a parser, a
// copy or a printer that recurses dies at some ten thousand.
inline constexpr int kMaxJsonDepth = 64;

// Throws InputError "PLACE:LINE:COLUMN: ..." for a text that is no JSON, "PLACE: ..." for one that
// is nested deeper than kMaxJsonDepth or holds a number beyond those of double. `place` is the
// file's name.
nlohmann::ordered_json parse_json(std::string_view text, std::string_view place);

// The whole file, as read_text_file reads it.
nlohmann::ordered_json read_json_file(const std::filesystem::path& path,
                                      std::size_t limit = kTextLimit);

}  // namespace blockwise
