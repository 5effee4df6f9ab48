// config.json of every family of Hugging Face models: the model, its layout, and config.json again.
#include "core/pretrained/hugging_face.hpp"
#include "tests/fuzz/support.hpp"

using namespace blockwise;

FUZZ_TARGET(bytes) {
  static const fuzz::InputFolder folder;
  folder.write("config.json", bytes);
  const auto config = read_hugging_face_config(folder.path());
  config.spec->layout();
  config.spec->context_length();
}
