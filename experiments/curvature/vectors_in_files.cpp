#include "experiments/curvature/vectors_in_files.hpp"

#include <filesystem>

#include "core/base/error.hpp"
#include "hessian/product_memory.hpp"

namespace blockwise {
namespace {

namespace fs = std::filesystem;

// The folder itself may not be there yet.
fs::path nearest_folder(fs::path folder) {
  while (!folder.empty() && !fs::exists(folder)) folder = folder.parent_path();
  return folder.empty() ? fs::path(".") : folder;
}

}  // namespace

std::unique_ptr<TensorsInFile> vectors_in_files(const RunConfig& config,
                                                const ParameterLayout& layout) {
  const auto from = config.hessian.files_from(layout.size());
  if (from == ProductKind::kNoFiles) return nullptr;
  return std::make_unique<TensorsInFile>(config.output, from);
}

void require_room_for_vectors(const RunConfig& config, at::Device device, std::int64_t bytes) {
  if (config.hessian.vectors_in != "file") return;
  require_input(device.is_cpu(), "hessian.vectors_in: file is for the CPU, this model is on {}",
                device.str());
  std::error_code failed;
  const auto room = fs::space(nearest_folder(config.output), failed);
  const auto gib = [](double b) { return b / double(1 << 30); };
  require_input(failed || double(room.available) >= double(bytes),
                "hessian.vectors_in: file takes {:.2f} GiB in {}, whose disk has {:.2f}",
                gib(double(bytes)), config.output, gib(double(room.available)));
}

}  // namespace blockwise
