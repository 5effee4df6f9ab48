// What the fuzz targets share. A target gives one reader the bytes as a file and uses everything
// that it gets; an InputError is an answer, every other exception is a finding, and so is whatever
// the sanitizers see.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <span>
#include <string>
#include <string_view>

#include "core/base/error.hpp"
#include "tests/support/temporary_folder.hpp"

namespace blockwise::fuzz {

using Bytes = std::span<const std::uint8_t>;

inline std::string_view text_of(Bytes bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// A folder of this process, which the files of every input are written into.
class InputFolder {
 public:
  const std::filesystem::path& path() const { return folder_.path(); }
  std::filesystem::path write(const std::string& name, std::string_view content) const {
    const auto file = folder_ / name;
    std::ofstream(file, std::ios::binary)
        .write(content.data(), static_cast<std::streamsize>(content.size()));
    return file;
  }
  std::filesystem::path write(const std::string& name, Bytes bytes) const {
    return write(name, text_of(bytes));
  }

 private:
  testing::TemporaryFolder folder_;
};

// The result of -1 keeps an input that no reader got far with out of the corpus.
template <typename Read>
int accepts(Read read) {
  try {
    read();
    return 0;
  } catch (const InputError&) {
    return 0;
  }
}

}  // namespace blockwise::fuzz

// FUZZ_TARGET(bytes) { body }: the body is run on every input.
#define FUZZ_TARGET(bytes)                                                            \
  static void run_target(blockwise::fuzz::Bytes bytes);                               \
  extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) { \
    return blockwise::fuzz::accepts([&] { run_target({data, size}); });               \
  }                                                                                   \
  static void run_target(blockwise::fuzz::Bytes bytes)
