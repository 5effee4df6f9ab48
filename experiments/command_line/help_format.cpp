#include "experiments/command_line/help_format.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "core/text/display_width.hpp"

namespace blockwise {
namespace {

constexpr std::size_t kOptionColumn = 30, kNarrowOptionColumn = 14;
constexpr std::size_t kLeastDescription = 24;

}  // namespace

HelpFormat::HelpFormat(std::size_t width) : width_(width) {
  const bool narrow = width < kOptionColumn + kLeastDescription;
  column_width(narrow ? kNarrowOptionColumn : kOptionColumn);
}

// Names that are wider than their column, the usage and the footer are lines of their own.
std::string HelpFormat::make_help(const CLI::App* app, std::string name,
                                  CLI::AppFormatMode mode) const {
  return wrapped(CLI::Formatter::make_help(app, std::move(name), mode), width_, 2);
}

std::string HelpFormat::make_option_desc(const CLI::Option* option) const {
  return description(CLI::Formatter::make_option_desc(option));
}

std::string HelpFormat::make_subcommand(const CLI::App* verb) const {
  const auto column = get_column_width();
  return wrapped_entry(fmt::format("  {:<{}}", verb->get_name(), column - 2),
                       verb->get_description(), width_) +
         "\n";
}

// CLI11 indents the lines.
std::string HelpFormat::description(const std::string& text) const {
  const auto column = get_column_width();
  return wrapped(text, std::max(kLeastDescription, width_ - std::min(width_, column)));
}

}  // namespace blockwise
