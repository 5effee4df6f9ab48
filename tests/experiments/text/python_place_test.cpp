// Which Python package the program takes: the recorded one, or what BLOCKWISE_PYTHON_PATH names.
#include <fmt/format.h>

#include <filesystem>

#include "core/io/atomic_file.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/program.hpp"
#include "tests/support/small_run.hpp"

using namespace blockwise;
using namespace blockwise::testing;
namespace fs = std::filesystem;

namespace {

ProgramResult prepare(const TemporaryFolder& data, const std::string& prefix) {
  write_file_atomically(data / "a.txt", "abab abba baab abab abba baab");
  return run_program({"data", "--train", (data / "a.txt").string(), "--output",
                      (data / "tokens").string(), "--validation-fraction", "0.5"},
                     prefix);
}

// A copy with its library, as deep in a folder as a build is in its checkout.
std::string moved_program(const TemporaryFolder& home) {
  const fs::path moved = home / "build/release/blockwise";
  fs::create_directories(moved.parent_path());
  fs::copy_file(program_path(), moved);
  const auto* library = "libblockwise_verbs.so";
  fs::copy_file(fs::path(program_path()).parent_path() / library, moved.parent_path() / library);
  return moved.string();
}

}  // namespace

TEST_CASE("BLOCKWISE_PYTHON_PATH names the folder of another Python package") {
  const TemporaryFolder data;
  fs::create_directories(data / "other/blockwise");
  write_file_atomically(data / "other/blockwise/__init__.py", "");
  write_file_atomically(data / "other/blockwise/tokens.py", "print('the other package')");
  const auto other = (data / "other").string();
  const auto result = prepare(data, fmt::format("BLOCKWISE_PYTHON_PATH='{}'", other));
  INFO(result.errors);
  CHECK(result.exit_code == 0);
  CHECK(result.output == "the other package\n");
  CHECK_FALSE(fs::exists(data / "tokens"));
}

TEST_CASE("A folder without the Python package is named") {
  const TemporaryFolder data;
  const auto result =
      prepare(data, fmt::format("BLOCKWISE_PYTHON_PATH='{}'", data.path().string()));
  CHECK(result.exit_code == 2);
  CHECK_THAT(result.errors, Contains(data.path().string() + ": no Python package blockwise"));
}

TEST_CASE("What lies two folders above the program is not taken for its checkout") {
  const TemporaryFolder home;
  const auto program = moved_program(home);
  for (const auto* folder : {"python/blockwise", "notebooks/blockwise", ".venv/bin"}) {
    fs::create_directories(home / folder);
  }
  const auto trap = fmt::format("open(r'{}', 'w').close()\n", (home / "executed").string());
  write_file_atomically(home / "python/blockwise/__init__.py", trap);
  write_file_atomically(home / "notebooks/blockwise/__init__.py", trap);
  write_file_atomically(home / ".venv/bin/python",
                        fmt::format("#!/bin/sh\ntouch '{}'\n", (home / "executed").string()));
  fs::permissions(home / ".venv/bin/python", fs::perms::owner_all);
  const auto result = prepare(home, fmt::format("sh -c 'shift; exec \"$0\" \"$@\"' '{}'", program));
  INFO(result.errors);
  CHECK(result.exit_code == 0);
  CHECK(fs::exists(home / "tokens/manifest.json"));
  CHECK_FALSE(fs::exists(home / "executed"));
}
