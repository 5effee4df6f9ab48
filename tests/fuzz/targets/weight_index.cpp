// model.safetensors.index.json beside one shard: which files a folder's weights are taken from.
#include "core/pretrained/hugging_face.hpp"
#include "tests/fuzz/small_model.hpp"
#include "tests/fuzz/support.hpp"

using namespace blockwise;

FUZZ_TARGET(bytes) {
  static const fuzz::InputFolder folder;
  static const auto spec = fuzz::small_model();
  static ParameterStore store(spec->layout(), at::kCPU);
  static const bool written = [] {
    write_hugging_face(folder.path() / "whole", *spec, store, {});
    std::filesystem::create_directory(folder.path() / "sharded");
    for (const auto* name : {"config.json", "model.safetensors"}) {
      const auto to = std::string(name).starts_with("model") ? "shard.safetensors" : name;
      std::filesystem::copy_file(folder.path() / "whole" / name, folder.path() / "sharded" / to);
    }
    return true;
  }();
  static_cast<void>(written);
  folder.write("sharded/model.safetensors.index.json", bytes);
  read_hugging_face_weights(folder.path() / "sharded", store);
}
