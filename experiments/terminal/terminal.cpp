#include "experiments/terminal/terminal.hpp"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cctype>
#include <charconv>
#include <cstdlib>
#include <string_view>

namespace blockwise {
namespace {

constexpr std::size_t kLeastColumns = 20;

std::string_view variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

std::size_t columns_of_environment() {
  const auto text = variable("COLUMNS");
  std::size_t columns = 0;
  const auto end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, columns);
  return error == std::errc() && rest == end && columns >= kLeastColumns ? columns
                                                                         : kUnlimitedWidth;
}

std::size_t columns_of_terminal(int descriptor) {
  winsize size{};
  const bool known = ::ioctl(descriptor, TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
  return known ? std::max<std::size_t>(kLeastColumns, size.ws_col) : kUnlimitedWidth;
}

}  // namespace

std::size_t columns_of(int descriptor) {
  return std::min(columns_of_environment(), columns_of_terminal(descriptor));
}

bool draws_unicode() {
  if (variable("TERM") == "dumb") return false;
  for (const auto* name : {"LC_ALL", "LC_CTYPE", "LANG"}) {
    if (variable(name).empty()) continue;
    std::string locale;
    for (const unsigned char c : variable(name)) {
      if (std::isalnum(c) != 0) locale += static_cast<char>(std::tolower(c));
    }
    return locale.find("utf8") != std::string::npos;
  }
  return false;
}

void print_words(const std::string& text) {
  fmt::print("{}", wrapped(text, columns_of(STDOUT_FILENO), 2));
}

void print_entry(const std::string& name, const std::string& meaning) {
  fmt::print("{}\n", wrapped_entry(name, meaning, columns_of(STDOUT_FILENO)));
}

void print_command(const std::string& label, const std::string& command) {
  fmt::print("{}\n", wrapped_command(label + " " + command, columns_of(STDOUT_FILENO)));
}

void TableWidth::add_flag(CLI::App& verb) {
  verb.add_flag("--wide", wide, "tables with all columns, however wide the terminal is");
}

std::size_t TableWidth::columns() const {
  return wide ? kUnlimitedWidth : columns_of(STDOUT_FILENO);
}

}  // namespace blockwise
