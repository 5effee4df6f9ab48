// `--help` as wide as the terminal: what CLI11 writes, with its descriptions broken at words.
#pragma once

#include <CLI/CLI.hpp>

#include <string>

namespace blockwise {

class HelpFormat : public CLI::Formatter {
 public:
  explicit HelpFormat(std::size_t width);

  std::string make_help(const CLI::App* app, std::string name,
                        CLI::AppFormatMode mode) const override;
  std::string make_option_desc(const CLI::Option* option) const override;
  std::string make_subcommand(const CLI::App* verb) const override;

 private:
  std::string description(const std::string& text) const;

  std::size_t width_;
};

}  // namespace blockwise
