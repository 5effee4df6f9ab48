#include "experiments/sweeps/curves.hpp"

#include <fmt/format.h>

#include <cstdio>
#include <filesystem>
#include <optional>

#include "core/base/error.hpp"
#include "core/io/partial_file.hpp"
#include "experiments/commands/command.hpp"
#include "experiments/text/python.hpp"

namespace blockwise {
namespace {

namespace fs = std::filesystem;

void print_left_out(const std::vector<std::string>& left_out) {
  for (const auto& why : left_out) print_note("left out: " + why);
}

void print_csv(const std::string& folder) {
  print_left_out(write_curves(folder, [](std::string_view text) { fmt::print("{}", text); }));
}

void write_csv(const std::string& folder, const fs::path& path) {
  std::optional<PartialFile> file;  // made when there is something to write
  print_left_out(write_curves(folder, [&](std::string_view text) {
    if (!file && path.has_parent_path()) fs::create_directories(path.parent_path());
    if (!file) file.emplace(path);
    file->write(std::as_bytes(std::span(text)));
  }));
  file->publish();
}

// Through a table beside the result, which the Python side reads and which goes when it has.
int convert(const CurvesOptions& options, const std::string& kind) {
  const fs::path output =
      options.output.empty() ? fs::path(options.folder) / kind : fs::path(options.output);
  const auto table = output / "curves.csv";
  write_csv(options.folder, table);
  struct Removed {
    fs::path path;
    ~Removed() {
      std::error_code ignored;
      fs::remove(path, ignored);
    }
  } const removed{table};
  fmt::print("{}",
             python_output({"blockwise.files.curve_files", kind, table.string(), output.string()}));
  return 0;
}

}  // namespace

int run_verb(const CurvesOptions& options) {
  if (options.tensorboard) return convert(options, "tensorboard");
  if (options.wandb) return convert(options, "wandb");
  if (options.output.empty()) {
    print_csv(options.folder);
  } else {
    write_csv(options.folder, options.output);
  }
  return 0;
}

}  // namespace blockwise
