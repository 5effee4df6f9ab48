// What the terminal can show, and printing that keeps to it. All words for people go through here;
// JSON, CSV and YAML do not.
#pragma once

#include <CLI/App.hpp>

#include <cstddef>
#include <string>

#include "core/text/display_width.hpp"

namespace blockwise {

// Columns of a line to this descriptor: COLUMNS of the environment where it is a number from 20
// on, and of a terminal not more than it has. Files and pipes without COLUMNS: kUnlimitedWidth.
std::size_t columns_of(int descriptor);

// Whether characters beyond ASCII can be drawn: the locale's encoding is UTF-8 (the first of
// LC_ALL, LC_CTYPE and LANG that is not empty) and TERM is not "dumb".
bool draws_unicode();

// Lines for people on standard output, broken at words (core/text/display_width.hpp). Throws as
// fmt::print does where it cannot be written.
void print_words(const std::string& text);
// A name and what it means: further lines stand under the meaning.
void print_entry(const std::string& name, const std::string& meaning);
// A command that the reader may copy, as the line "label command".
void print_command(const std::string& label, const std::string& command);

// Tables with all their columns, however wide the terminal is.
struct TableWidth {
  bool wide = false;

  // `--wide` of a verb; the object lives as long as the verb.
  void add_flag(CLI::App& verb);
  std::size_t columns() const;
};

}  // namespace blockwise
