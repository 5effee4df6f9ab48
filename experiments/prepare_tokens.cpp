#include "experiments/prepare_tokens.hpp"

#include <spawn.h>
#include <sys/wait.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "core/data/token_file.hpp"
#include "core/error.hpp"
#include "core/io/atomic_file.hpp"
#include "core/io/mapped_file.hpp"
#include "core/io/sha256.hpp"
#include "experiments/progress.hpp"

extern char** environ;

namespace blockwise {
namespace {

namespace fs = std::filesystem;

std::int64_t total_bytes(const std::vector<std::string>& files) {
  std::int64_t bytes = 0;
  for (const auto& file : files) bytes += static_cast<std::int64_t>(map_file(file).bytes.size());
  return bytes;
}

// One token per byte. Returns the manifest's entry.
nlohmann::ordered_json write_bytes(const std::vector<std::string>& texts, const fs::path& path,
                                   Progress& progress, std::int64_t& done) {
  constexpr std::size_t kBlock = 1 << 20;
  TokenFileWriter writer(path);
  std::vector<std::uint16_t> tokens;
  const auto before = done;
  for (const auto& text : texts) {
    const auto file = map_file(text);
    for (std::size_t begin = 0; begin < file.bytes.size(); begin += kBlock) {
      const auto block = file.bytes.subspan(begin, std::min(kBlock, file.bytes.size() - begin));
      tokens.resize(block.size());
      std::transform(block.begin(), block.end(), tokens.begin(),
                     [](std::byte b) { return static_cast<std::uint16_t>(b); });
      writer.append(tokens);
      done += static_cast<std::int64_t>(block.size());
      progress.update(done, text);
    }
  }
  const auto count = writer.finish();
  return {{"file", path.filename().string()},
          {"tokens", count},
          {"bytes", done - before},
          {"sha256", sha256(map_file(path).bytes)}};
}

void prepare_bytes(const TokenizerJob& job) {
  const fs::path folder(job.output);
  Progress progress("bytes", total_bytes(job.train) + total_bytes(job.validation));
  std::int64_t done = 0;
  nlohmann::ordered_json manifest = {
      {"format", "blockwise-tokens"}, {"version", 1}, {"tokenizer", "byte"}, {"vocab_size", 256}};
  manifest["files"]["train"] = write_bytes(job.train, folder / "train.bin", progress, done);
  manifest["files"]["validation"] =
      write_bytes(job.validation, folder / "validation.bin", progress, done);
  progress.finish();
  write_file_atomically(folder / "manifest.json", manifest.dump(2) + "\n");
}

std::string python() {
  if (const char* chosen = std::getenv("BLOCKWISE_PYTHON")) return chosen;
  // build/release/blockwise -> .venv beside build
  const auto root = fs::read_symlink("/proc/self/exe").parent_path().parent_path().parent_path();
  const auto own = root / ".venv/bin/python";
  return fs::exists(own) ? own.string() : "python3";
}

std::vector<std::string> bpe_command(const TokenizerJob& job) {
  std::vector<std::string> words = {python(), "-m", "blockwise.bpe", "--train"};
  words.insert(words.end(), job.train.begin(), job.train.end());
  words.push_back("--validation");
  words.insert(words.end(), job.validation.begin(), job.validation.end());
  words.insert(words.end(),
               {"--vocab-size", fmt::format("{}", job.vocab_size), "--output", job.output});
  return words;
}

void prepare_bpe(const TokenizerJob& job) {
  const auto root = fs::read_symlink("/proc/self/exe").parent_path().parent_path().parent_path();
  ::setenv("PYTHONPATH", (root / "notebooks").c_str(), 0);
  auto words = bpe_command(job);
  std::vector<char*> arguments;
  for (auto& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  pid_t process = -1;
  const int error =
      posix_spawnp(&process, arguments[0], nullptr, nullptr, arguments.data(), environ);
  require_input(error == 0, "{}: cannot be started: {}", words[0], std::strerror(error));
  int status = 0;
  ::waitpid(process, &status, 0);
  require_input(!WIFEXITED(status) || WEXITSTATUS(status) != 2,
                "the tokenizer refused its input; see above");
  if (status != 0) throw std::runtime_error("the tokenizer failed; see above");
}

}  // namespace

void prepare_tokens(const TokenizerJob& job) {
  for (const auto& file : job.train) map_file(file);
  for (const auto& file : job.validation) map_file(file);
  fs::create_directories(job.output);
  if (job.tokenizer == "bpe") return prepare_bpe(job);
  prepare_bytes(job);
}

}  // namespace blockwise
