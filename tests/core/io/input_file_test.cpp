// Inputs that are no plain files, or become shorter: one sentence, and at once.
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <csignal>
#include <functional>

#include "core/base/error.hpp"
#include "core/data/token_sequence.hpp"
#include "core/io/atomic_file.hpp"
#include "core/io/hdf5_file.hpp"
#include "core/io/json_file.hpp"
#include "core/io/mapped_file.hpp"
#include "core/io/safetensors.hpp"
#include "core/io/truncated_input.hpp"
#include "core/partition/block_rates.hpp"
#include "core/partition/partition_file.hpp"
#include "core/partition/partition_rules.hpp"
#include "core/pretrained/llm_c.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/input_kinds.hpp"
#include "tests/support/set_fields.hpp"
#include "tests/support/small_models.hpp"

using namespace blockwise;
using namespace blockwise::testing;
using blockwise::testing::Contains;
namespace fs = std::filesystem;

namespace {

struct ReaderCase {
  std::string name;
  std::string ending;
  std::function<void(const fs::path&)> read;
};

std::vector<ReaderCase> readers() {
  static const auto layout = small_models()[0].spec()->layout();
  static const auto partition = make_partition(layout, "adam_mini");
  return {
      {"text", ".txt", [](const fs::path& path) { read_text_file(path); }},
      {"JSON", ".json", [](const fs::path& path) { read_json_file(path); }},
      {"token file", ".bin", [](const fs::path& path) { TokenFile{path}; }},
      {"bare token file", ".bin",
       [](const fs::path& path) { TokenFile(path, TokenLayout::raw_uint16).check_vocabulary(9); }},
      {"safetensors", ".safetensors", [](const fs::path& path) { read_safetensors(path); }},
      {"llm.c model", ".bin", [](const fs::path& path) { read_llm_c_config(path); }},
      {"partition", ".yaml", [](const fs::path& path) { read_partition(path, layout); }},
      {"rates", ".yaml", [](const fs::path& path) { read_block_rates(path, layout, partition); }},
      {"HDF5", ".h5", [](const fs::path& path) { Hdf5File::open_for_reading(path); }},
      {"HDF5, to go on", ".h5", [](const fs::path& path) { Hdf5File::open_for_appending(path); }}};
}

// What a child process leaves: its wait status and what it wrote to standard error.
struct ChildResult {
  int status = 0;
  std::string errors;
};

ChildResult in_child(const std::function<void()>& action) {
  std::array<int, 2> ends{};
  REQUIRE(::pipe(ends.data()) == 0);
  const pid_t child = ::fork();
  if (child == 0) {
    ::dup2(ends[1], STDERR_FILENO);
    ::alarm(20);
    action();
    ::_exit(0);
  }
  ::close(ends[1]);
  ChildResult result;
  std::array<char, 4096> buffer{};
  for (ssize_t n = 0; (n = ::read(ends[0], buffer.data(), buffer.size())) > 0;) {
    result.errors.append(buffer.data(), static_cast<std::size_t>(n));
  }
  ::close(ends[0]);
  ::waitpid(child, &result.status, 0);
  return result;
}

// The sum of all bytes, which reads them.
unsigned sum_of(std::span<const std::byte> bytes) {
  unsigned sum = 0;
  for (const auto byte : bytes) sum += std::to_integer<unsigned>(byte);
  return sum;
}

}  // namespace

TEST_CASE("Every reader refuses what is no plain file, at once and by name") {
  const auto start = std::chrono::steady_clock::now();
  for (const auto& reader : readers()) {
    const InputKinds kinds(reader.ending);
    for (const auto& kind : kinds.all()) {
      INFO(reader.name << " of a " << kind.name);
      const auto text = input_error([&] { reader.read(kind.path); });
      CHECK_THAT(text, Contains(kind.path.string()));
      CHECK(text.find("exception") == std::string::npos);
      CHECK(text.find('\n') == std::string::npos);
    }
  }
  // Opening a pipe would wait for ever, reading 4 TiB for hours; all of this takes milliseconds.
  CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(20));
}

TEST_CASE("A folder of token files names the one that is none") {
  const InputKinds kinds(".bin");
  const auto folder = kinds.all().front().path.parent_path();
  const auto files = find_token_files(folder.string());
  CHECK(files.size() >= 3);
  CHECK_THAT(input_error([&] { TokenSequence(files, TokenLayout::llmc); }),
             Contains(files.front().string()));
}

TEST_CASE("Whether a file exists is known, or said not to be") {
  const InputKinds kinds("");
  const TemporaryFolder folder;
  CHECK(!input_exists(folder / "nothing"));
  CHECK(!input_exists(folder / "nothing/below"));
  CHECK(input_exists(folder.path()));
  for (const auto& kind : kinds.all()) {
    if (kind.name != "loop of links") continue;
    CHECK_THAT(input_error([&] { input_exists(kind.path); }),
               Contains(kind.path.string() + ": Too many levels of symbolic links"));
  }
  CHECK_THAT(input_error([&] { input_exists(folder / std::string(300, 'x')); }),
             Contains("File name too long"));
}

TEST_CASE("A file that becomes shorter under its map ends the program with its name") {
  const TemporaryFolder folder;
  const auto path = folder / "tokens.bin";
  const std::size_t size = 1 << 20;
  write_file_atomically(path, std::string(size, 'x'));
  write_file_atomically(folder / "other.bin", std::string(size, 'y'));
  const auto result = in_child([&] {
    end_on_truncated_input();
    const auto other = map_file(folder / "other.bin");
    const auto gone = map_file(folder / "other.bin");  // a slot that is used again
    const auto file = map_file(path);
    if (::truncate(path.c_str(), 4096) != 0) ::_exit(3);
    sum_of(other.bytes);
    volatile auto sum = sum_of(file.bytes);
    (void)sum;
  });
  CHECK(WIFEXITED(result.status));
  CHECK(WEXITSTATUS(result.status) == 2);
  CHECK(result.errors == "blockwise: " + path.string() + ": became shorter while it was read\n");
}

TEST_CASE("A SIGBUS elsewhere stays one") {
  const TemporaryFolder folder;
  write_file_atomically(folder / "a.bin", std::string(8192, 'x'));
  const auto sent = in_child([&] {
    end_on_truncated_input();
    const auto file = map_file(folder / "a.bin");
    ::raise(SIGBUS);
  });
  CHECK(WIFSIGNALED(sent.status));
  CHECK(WTERMSIG(sent.status) == SIGBUS);
  CHECK(sent.errors.empty());
  // A range that was given back is nobody's.
  const auto stale = in_child([&] {
    end_on_truncated_input();
    const int file = ::open((folder / "a.bin").c_str(), O_RDWR);
    const auto bytes = MappedFile(map_file(folder / "a.bin")).bytes.size();
    void* own = ::mmap(nullptr, bytes, PROT_READ, MAP_SHARED, file, 0);
    if (::ftruncate(file, 0) != 0) ::_exit(3);
    volatile auto sum = sum_of({static_cast<const std::byte*>(own), bytes});
    (void)sum;
  });
  CHECK(WIFSIGNALED(stale.status));
  CHECK(WTERMSIG(stale.status) == SIGBUS);
}
