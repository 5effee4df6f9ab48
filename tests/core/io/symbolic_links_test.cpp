// Names that lead in a circle, where a file of a model may stand: bad input, in our words.
#include <filesystem>

#include "core/base/error.hpp"
#include "core/pretrained/companion_files.hpp"
#include "core/pretrained/hugging_face.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/temporary_folder.hpp"

using namespace blockwise;
using blockwise::testing::Contains;
using blockwise::testing::TemporaryFolder;
namespace fs = std::filesystem;

TEST_CASE("A loop of symbolic links is bad input wherever a model's files are looked for") {
  const TemporaryFolder folder;
  const std::string name =
      GENERATE("model.safetensors", "model.safetensors.index.json", "tokenizer.json");
  INFO(name);
  fs::copy(std::string(BLOCKWISE_SOURCE_DIR) + "/tests/golden/hugging_face/llama", folder.path(),
           fs::copy_options::recursive);
  const auto config = read_hugging_face_config(folder.path());
  fs::remove(folder / "model.safetensors");
  fs::create_symlink(folder / name, folder / name);
  if (name == "tokenizer.json") {
    CHECK_THROWS_WITH(write_companions(config.companions, folder / "kept"),
                      Contains(name) && Contains("symbolic links"));
    return;
  }
  ParameterStore store(config.spec->layout(), at::kCPU);
  CHECK_THROWS_AS(read_hugging_face_weights(folder.path(), store), InputError);
  CHECK_THROWS_WITH(read_hugging_face_weights(folder.path(), store),
                    Contains(name) && Contains("symbolic links"));
}
