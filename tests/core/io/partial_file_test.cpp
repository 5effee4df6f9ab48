// The file beside a name, and everything that writes one.
#include "core/io/partial_file.hpp"

#include <functional>
#include <vector>

#include "core/base/error.hpp"
#include "core/data/token_file.hpp"
#include "core/io/atomic_file.hpp"
#include "core/io/hdf5_file.hpp"
#include "core/io/input_file.hpp"
#include "core/io/mapped_writer.hpp"
#include "core/io/safetensors.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/temporary_folder.hpp"

using namespace blockwise;
using namespace blockwise::testing;
namespace fs = std::filesystem;

namespace {

struct Writer {
  const char* name;
  std::function<void(const fs::path&)> write;
};

void write_hdf5(const fs::path& path) {
  auto file = Hdf5File::create(path);
  file.create_integer("/n", 3, "1", "a number");
  file.close();
}

// Every way in which a file comes to stand under a name.
const std::vector<Writer>& writers() {
  static const std::vector<Writer> all = {
      {"text", [](const fs::path& path) { write_file_atomically(path, "hello"); }},
      {"mapped", [](const fs::path& path) { MappedWriter(path, 100).commit(); }},
      {"tensors",
       [](const fs::path& path) {
         write_safetensors(path, {{"a", at::ones({3})}});
       }},
      {"tokens",
       [](const fs::path& path) {
         TokenFileWriter writer(path);
         writer.append(std::vector<std::uint16_t>{1, 2, 3});
         writer.finish();
       }},
      {"HDF5", write_hdf5}};
  return all;
}

std::string text_of(const fs::path& folder) { return read_text_file(folder / "victim"); }

}  // namespace

TEST_CASE("Partial files: a link that was put there is removed, not followed") {
  for (const auto& writer : writers()) {
    INFO(writer.name);
    const TemporaryFolder folder;
    write_file_atomically(folder / "victim", "precious");
    const bool dangling = GENERATE(false, true);
    const auto target = dangling ? folder / "made-by-the-link" : folder / "victim";
    fs::create_symlink(target, folder / "a.partial");
    writer.write(folder / "a");
    CHECK(text_of(folder.path()) == "precious");
    CHECK(!fs::exists(folder / "made-by-the-link"));
    CHECK(fs::is_regular_file(fs::symlink_status(folder / "a")));
    CHECK(!fs::exists(fs::symlink_status(folder / "a.partial")));
  }
}

TEST_CASE("Partial files: a link under the name itself is replaced, not followed") {
  for (const auto& writer : writers()) {
    INFO(writer.name);
    const TemporaryFolder folder;
    write_file_atomically(folder / "victim", "precious");
    if (std::string(writer.name) == "HDF5") continue;  // refuses any file that is there
    fs::create_symlink(folder / "victim", folder / "a");
    writer.write(folder / "a");
    CHECK(text_of(folder.path()) == "precious");
    CHECK(fs::is_regular_file(fs::symlink_status(folder / "a")));
  }
}

TEST_CASE("Partial files: what an earlier process left is in nobody's way") {
  for (const auto& writer : writers()) {
    INFO(writer.name);
    const TemporaryFolder folder;
    write_file_atomically(folder / "a.partial", std::string(5000, 'x'));
    writer.write(folder / "a");
    CHECK(fs::file_size(folder / "a") != 5000);
    CHECK(!fs::exists(folder / "a.partial"));
  }
}

TEST_CASE("Partial files: a folder in the way, or no folder, is named") {
  for (const auto& writer : writers()) {
    INFO(writer.name);
    const TemporaryFolder folder;
    fs::create_directories(folder / "a.partial");
    CHECK_THROWS_WITH(writer.write(folder / "a"),
                      Contains("a.partial: cannot be written: Is a directory"));
    CHECK_THROWS_WITH(writer.write(folder / "none/a"), Contains("No such file or directory"));
    write_file_atomically(folder / "file", "x");
    CHECK_THROWS_WITH(writer.write(folder / "file/a"), Contains("Not a directory"));
  }
}

TEST_CASE("Partial files: of two writers of one name the first notices") {
  const TemporaryFolder folder;
  PartialFile first(folder / "a");
  {
    PartialFile second(folder / "a");
    CHECK_THROWS_WITH(first.publish(), Contains("another process writes it"));
    const std::string text = "second";
    second.write(std::as_bytes(std::span(text)));
    second.publish();
  }
  CHECK(read_text_file(folder / "a") == "second");
}

TEST_CASE("Partial files: without publishing, nothing stays and nothing is replaced") {
  const TemporaryFolder folder;
  write_file_atomically(folder / "a", "old");
  {
    PartialFile file(folder / "a");
    CHECK(fs::exists(folder / "a.partial"));
  }
  CHECK(!fs::exists(folder / "a.partial"));
  CHECK(read_text_file(folder / "a") == "old");
}
