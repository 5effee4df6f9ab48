// What the program loads: no LibTorch to answer by itself, and LibTorch once where it works. The
// dynamic linker says what it does (LD_DEBUG); seconds would depend on the machine.
#include <filesystem>
#include <sstream>

#include "core/io/input_file.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/program.hpp"
#include "tests/support/small_run.hpp"

namespace blockwise {
namespace {

namespace fs = std::filesystem;
using testing::Contains;
using testing::ProgramResult;
using testing::SmallRunFolder;
using testing::TemporaryFolder;
using Words = std::vector<std::string>;

struct Loads {
  int programs = 0;   // that were executed
  int libraries = 0;  // that were loaded, LibTorch's with them
  int libtorch = 0;   // times that LibTorch was
};

// A program and the processes that it starts.
class LoadWatch {
 public:
  std::string prefix() const {
    return "LD_DEBUG=files LD_DEBUG_OUTPUT='" + (folder_ / "linker").string() + "'";
  }
  // A file per process.
  Loads loads() const {
    Loads loads;
    for (const auto& file : fs::directory_iterator(folder_.path())) {
      std::istringstream text(read_text_file(file.path()));
      for (std::string line; std::getline(text, line);) count(line, loads);
    }
    return loads;
  }

 private:
  static void count(const std::string& line, Loads& loads) {
    const auto says = [&](const char* words) { return line.find(words) != std::string::npos; };
    if (says("initialize program:")) ++loads.programs;
    if (!says("calling init:")) return;
    ++loads.libraries;
    if (says("libtorch_cpu.so")) ++loads.libtorch;
  }

  TemporaryFolder folder_;
};

Loads loads_of(const Words& words, int exit_code) {
  const LoadWatch watch;
  const auto result = testing::run_program(words, watch.prefix());
  INFO(result.errors);
  CHECK(result.exit_code == exit_code);
  return watch.loads();
}

}  // namespace

TEST_CASE("Help, the version and words that do not fit load no LibTorch") {
  const std::vector<std::pair<Words, int>> uses = {{{}, 0},
                                                   {{"--help"}, 0},
                                                   {{"train", "--help"}, 0},
                                                   {{"data", "--help"}, 0},
                                                   {{"--version"}, 0},
                                                   {{"trian"}, 2},
                                                   {{"train", "x.yaml", "--threds", "3"}, 2}};
  for (const auto& [words, code] : uses) {
    INFO(fmt::format("{}", fmt::join(words, " ")));
    const auto loads = loads_of(words, code);
    CHECK(loads.programs == 1);
    CHECK(loads.libtorch == 0);
    // The C and C++ libraries and fmt; those of HDF5 alone are thirty.
    CHECK(loads.libraries <= 10);
  }
}

TEST_CASE("What works loads LibTorch once, in the process that was started") {
  const auto loads = loads_of({"list", "schedules"}, 0);
  CHECK(loads.programs == 1);
  CHECK(loads.libtorch == 1);
}

TEST_CASE("All members of a sweep together load LibTorch once") {
  const SmallRunFolder run(4, "sweep: {seeds: [1, 2, 3]}\n");
  const LoadWatch watch;
  const auto result = run.run({"sweep", "--jobs", "2", "--json"}, watch.prefix());
  INFO(result.errors);
  REQUIRE(result.exit_code == 0);
  CHECK_THAT(result.output, Contains("\"finished\":3"));
  CHECK(watch.loads().programs == 1);
  CHECK(watch.loads().libtorch == 1);
}

TEST_CASE("The program alone gives help, and names the library that it has lost") {
  const TemporaryFolder folder;
  const auto alone = (folder / "blockwise").string();
  fs::copy_file(testing::program_path(), alone);
  const auto run = [&](const Words& words) {
    return testing::run_program(words, "sh -c 'shift; exec \"$0\" \"$@\"' '" + alone + "'");
  };
  const auto help = run({"--help"});
  CHECK(help.exit_code == 0);
  CHECK_THAT(help.output, Contains("search-lr"));
  const auto list = run({"list"});
  CHECK(list.exit_code == 1);
  CHECK_THAT(list.errors, Contains("blockwise: ") && Contains("libblockwise_verbs.so"));
  CHECK(std::count(list.errors.begin(), list.errors.end(), '\n') == 1);
}

}  // namespace blockwise
