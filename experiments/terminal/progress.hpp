// Progress of long work: one line that is rewritten on a terminal, plain lines elsewhere (at most
// one every ten seconds and at the end), on standard error. Titles, notes and messages may come
// from files: they go through printable().
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "experiments/terminal/progress_line.hpp"

namespace blockwise {

class Progress {
 public:
  // `total` units of work of which `done` are there already (a resumed run).
  Progress(const std::string& title, std::int64_t total, std::int64_t done = 0);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  // `note` stands behind the bar, the most important first: "loss 2.31 | 12.3k tok/s".
  void update(std::int64_t done, const std::string& note);
  // Prints a line above the bar.
  void message(const std::string& line);
  // Leaves the last state on its own line.
  void finish();

 private:
  void draw(bool last);

  std::string title_;
  std::string note_;
  std::int64_t total_;
  std::int64_t first_;
  std::int64_t done_;
  bool terminal_;
  bool finished_ = false;
  std::chrono::steady_clock::time_point start_;
  std::chrono::steady_clock::time_point drawn_;
};

}  // namespace blockwise
