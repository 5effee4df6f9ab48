// Files of a run that somebody else wrote or damaged, as the program meets them: one sentence with
// the place, exit code 2, and nothing that was not there is read.
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <functional>
#include <nlohmann/json.hpp>
#include <thread>

#include "core/io/atomic_file.hpp"
#include "core/io/hdf5_file.hpp"
#include "core/io/json_file.hpp"
#include "core/io/safetensors.hpp"
#include "core/io/sha256.hpp"
#include "core/partition/partition_file.hpp"
#include "core/partition/partition_rules.hpp"
#include "experiments/config/config_text.hpp"
#include "experiments/config/config_yaml.hpp"
#include "experiments/config/model_source.hpp"
#include "experiments/curvature/hessian_plan.hpp"
#include "experiments/records/checkpoint.hpp"
#include "experiments/records/run_recorder.hpp"
#include "experiments/text/token_evaluation.hpp"
#include "experiments/text/tokenizer.hpp"
#include "experiments/training/trainer.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/input_kinds.hpp"
#include "tests/support/program.hpp"
#include "tests/support/set_fields.hpp"
#include "tests/support/small_run.hpp"

using namespace blockwise;
using namespace blockwise::testing;
using blockwise::testing::Contains;
namespace fs = std::filesystem;

namespace {

// Bad input, in one line of ours.
void check_refused(const ProgramResult& result, const std::string& text) {
  INFO(result.errors);
  CHECK(result.exit_code == 2);
  CHECK_THAT(result.errors, Contains(text));
  const auto last = result.errors.rfind("blockwise: ");
  REQUIRE(last != std::string::npos);
  CHECK(std::count(result.errors.begin() + std::ptrdiff_t(last), result.errors.end(), '\n') == 1);
}

// A folder in which the file of a fixed name is one of the kinds.
struct Planted {
  TemporaryFolder folder;
  fs::path path;
  Planted(const InputKind& kind, const std::string& name) : path(folder / name) {
    fs::create_directories(path.parent_path());
    if (kind.name != "missing") fs::create_symlink(kind.path, path);
  }
};

struct ReaderCase {
  std::string name;
  std::string file;  // in the folder that is read
  bool may_be_missing;
  std::function<void(const fs::path& folder)> read;
};

std::vector<ReaderCase> readers() {
  const auto config = [](const fs::path& folder, const std::string& key) {
    auto document = YamlDocument::parse(small_run_yaml(folder, 3), "run.yaml");
    document.set(key + "=" + (folder / "file.yaml").string());
    return document.run_config();
  };
  return {
      {"run configuration", "run.yaml", false,
       [](const fs::path& f) { YamlDocument::load(f / "run.yaml"); }},
      {"hash of a partition", "file.yaml", true,
       [=](const fs::path& f) { config_hash(config(f, "optimizer.partition.file")); }},
      {"hash of rates", "file.yaml", true,
       [=](const fs::path& f) { config_hash(config(f, "optimizer.block_lr")); }},
      {"run file", "run.h5", false, [](const fs::path& f) { read_run(f / "run.h5"); }},
      {"manifest of tokens", "manifest.json", false,
       [](const fs::path& f) { read_token_manifest(f / "train.bin"); }},
      {"manifest of evaluated tokens", "manifest.json", true,
       [](const fs::path& f) { text_bytes({f / "train.bin"}); }},
      {"tokenizer", "tokenizer.json", false, [](const fs::path& f) { open_tokenizer(f, 300); }},
      {"Hugging Face folder", "config.json", false, [](const fs::path& f) { open_model(f); }},
      {"model of a run", "config.yaml", false, [](const fs::path& f) { open_model(f); }},
      {"llm.c model", "model.bin", false, [](const fs::path& f) { open_model(f / "model.bin"); }},
  };
}

// ---- a finished measurement
// ----------------------------------------------------------------------

struct Measured : SmallRunFolder {
  Measured() : SmallRunFolder(3) { REQUIRE(spectrum().exit_code == 0); }
  ProgramResult spectrum() const {
    return run({"spectrum", "--no-figure", "--output", (folder / "spectrum").string(), "--set",
                "hessian.parts.each=tensor", "--set", "hessian.parts.roles=[key,norm]", "--set",
                "hessian.lanczos.steps=4", "--set", "hessian.lanczos.probes=1"});
  }
  fs::path file() const { return folder / "spectrum/spectrum.h5"; }

  // Replaces the last number of a column.
  void change(const std::string& column, std::int64_t value) const {
    auto h5 = Hdf5File::open_for_appending(file());
    auto values = h5.integer_column(column);
    REQUIRE(!values.empty());
    values.back() = value;
    h5.truncate(column, 0);
    h5.append(column, values);
    h5.close();
  }
};

// ---- a run that was stopped
// ----------------------------------------------------------------------

struct StoppedRun : SmallRunFolder {
  StoppedRun() : SmallRunFolder(6) {
    REQUIRE(run({"train"}).exit_code == 0);
    fs::remove_all(checkpoint_folder(folder / "run", 6));
    auto recorder =
        RunRecorder::resume(folder / "run/run.h5", read_run(folder / "run/run.h5").config_hash, 3);
    recorder.set_status(RunState::interrupted, "by the test", 3);
    recorder.close();
    const auto saved = read_safetensors(checkpoint() / "optimizer.safetensors");
    for (const auto& [name, tensor] : saved.tensors) state.emplace_back(name, tensor.clone());
  }
  fs::path checkpoint() const { return checkpoint_folder(folder / "run", 3); }

  NamedTensors state;  // as it was saved

  // Writes the state with `change` and a marker that agrees with it.
  void write_state(const std::function<void(NamedTensors&)>& change) const {
    const auto path = checkpoint() / "optimizer.safetensors";
    auto tensors = state;
    change(tensors);
    write_safetensors(path, tensors);
    auto marker = read_json_file(checkpoint() / "checkpoint.json");
    const auto content = read_text_file(path);
    marker["files"]["optimizer.safetensors"] = {
        {"bytes", content.size()},
        {"sha256", sha256(std::as_bytes(std::span(content.data(), content.size())))}};
    write_file_atomically(checkpoint() / "checkpoint.json", marker.dump());
  }
};

}  // namespace

TEST_CASE("Every reader of a run's files refuses what is no plain file, by name") {
  for (const auto& reader : readers()) {
    const InputKinds kinds("");
    for (const auto& kind : kinds.all()) {
      INFO(reader.name << " of a " << kind.name);
      const Planted planted(kind, reader.file);
      const auto text = input_error([&] { reader.read(planted.folder.path()); });
      if (kind.name == "missing" && reader.may_be_missing) {
        CHECK(text == "no error");
        continue;
      }
      CHECK_THAT(text, Contains(planted.folder.path().string()));
      CHECK(text.find("exception") == std::string::npos);
      CHECK(text.find('\n') == std::string::npos);
    }
  }
}

TEST_CASE("Pipes, devices and endless files end every verb at once, with code 2") {
  const SmallRunFolder run(3);
  const InputKinds kinds(".yaml");
  for (const auto& kind : kinds.all()) {
    INFO(kind.name);
    const auto name = kind.path.string();
    // Without --output no folder appears; a reader that waits is ended by `timeout`, code 124.
    check_refused(run_program({"train", name}, "timeout 20"), name);
    check_refused(run.run({"train", "--set", "optimizer.partition.file=" + name}, "timeout 20"),
                  name);
    if (kind.name == "folder") continue;  // is one of shards
    check_refused(run.run({"train", "--set", "data.train=" + name}, "timeout 20"), name);
  }
  CHECK(!fs::exists(run.folder / "run"));
}

TEST_CASE("A spectrum file with rows of blocks that are not there is refused") {
  const Measured m;
  for (const auto& [column, value] :
       std::vector<std::pair<std::string, std::int64_t>>{{"summary/block", 1 << 20},
                                                         {"summary/block", -1},
                                                         {"eigenvalues/block", 77},
                                                         {"quadrature/probe", -5},
                                                         {"symmetries/symmetry", 9},
                                                         {"summary/products", -1}}) {
    INFO(column);
    const auto before = read_text_file(m.file());
    m.change("/hessian/" + column, value);
    check_refused(m.spectrum(), "spectrum.h5: /hessian/" + column + ": row ");
    write_file_atomically(m.file(), before);
  }
  CHECK(m.spectrum().exit_code == 0);
}

TEST_CASE(
    "A spectrum file that claims more rows than it has, or a state that is none, is refused") {
  const Measured m;
  auto h5 = Hdf5File::open_for_appending(m.file());
  h5.write_enum("/status/state", 4);  // interrupted: to be continued
  h5.close();
  m.change("/hessian/commits/quadrature", 1'000'000);
  check_refused(m.spectrum(), "/hessian/quadrature: 1000000 rows are noted as complete");
  h5 = Hdf5File::open_for_appending(m.file());
  h5.write_enum("/status/state", 99);
  h5.close();
  check_refused(m.spectrum(), "/status/state is 99");
}

TEST_CASE("Rows of curvature in a run file are checked against the file's own tables") {
  const SmallRunFolder run(3,
                           "hessian: {every: 3, each: tensor, roles: [key], lanczos_steps: 3}\n");
  const auto trained = run.run({"train"});
  INFO(trained.errors);
  REQUIRE(trained.exit_code == 0);
  const auto path = run.folder / "run/run.h5";
  REQUIRE(!read_run(path).hessian.summary.empty());
  auto h5 = Hdf5File::open_for_appending(path);
  auto blocks = h5.integer_column("/hessian/summary/block");
  blocks.back() = 5;
  h5.truncate("/hessian/summary/block", 0);
  h5.append("/hessian/summary/block", blocks);
  h5.close();
  CHECK_THAT(input_error([&] { read_run(path); }),
             Contains("run.h5: /hessian/summary/block: row "));
}

TEST_CASE("Optimizer state of wrong sizes is refused before a kernel sees it") {
  const StoppedRun s;
  const auto& [first, average] = s.state.at(0);
  const auto& [second, moment] = s.state.at(1);
  const auto all = average.numel(), values = moment.numel();
  const auto refused = [&](const std::function<void(NamedTensors&)>& change,
                           const std::string& text) {
    s.write_state(change);
    check_refused(s.run({"train"}), "optimizer.safetensors: the saved optimizer state " + text);
  };
  const auto set = [](const std::string& name, const at::Tensor& tensor) {
    return [=](NamedTensors& tensors) {
      for (auto& [key, value] : tensors) {
        if (key == name) value = tensor;
      }
    };
  };
  refused(set(second, at::zeros({values + 1})),
          fmt::format("'{}' has {} values, {} are needed", second, values + 1, values));
  refused(set(second, at::zeros({0})), fmt::format("'{}' has 0 values", second));
  refused(set(first, at::zeros({all + 1})), fmt::format("'{}' has", first));
  refused(set(first, at::zeros({all}, at::kDouble)), fmt::format("'{}' is Double", first));
  refused([](NamedTensors& tensors) { tensors.pop_back(); }, "has no '");
  s.write_state([](NamedTensors&) {});
  CHECK(s.run({"train"}).exit_code == 0);
}

TEST_CASE("A partition file that would give too little state ends before the first step") {
  const SmallRunFolder run(3);
  const auto config = resolve(YamlDocument::load(run.config).run_config());
  const auto partition = config.config.optimizer.make_partition(config.layout);
  const auto text = partition_text(config.layout, {partition, {}, {}, {}});
  const auto train = [&](const std::string& from, const std::string& to) {
    auto changed = text;
    REQUIRE(changed.find(from) != std::string::npos);
    changed.replace(changed.find(from), from.size(), to);
    write_file_atomically(run.folder / "p.yaml", changed);
    return run.run(
        {"train", "--set", "optimizer.partition.file=" + (run.folder / "p.yaml").string()});
  };
  check_refused(train("tile: [1, 16]", "tile: [9223372036854775807, 1]"),
                "tile: 9223372036854775807 is out of bounds, 1 to 2147483647 are allowed");
  check_refused(train("role: query", "role: key"), "in the model it is query");
  check_refused(
      train("structure: tiles, tile: [1, 16]", "structure: labels, labels: '0*2147483647'"),
      "more labels than its");
  CHECK(!fs::exists(run.folder / "run"));
}

TEST_CASE("Samples of rates that were kept are of this search, or refused") {
  const SmallRunFolder run(3);
  const auto found = run.folder / "found";
  const auto kept = found / "samples.txt";
  fs::create_directories(found);
  const auto search = [&] {
    return run.run({"search-lr", "--method", "curvature", "--output", found.string(), "--set",
                    "search_lr.samples=2"},
                   "timeout 60");
  };
  write_file_atomically(kept, "another\n");
  const auto other = search();
  check_refused(other, "samples.txt: a search with another configuration");
  const std::string mark = "this one is ";
  const auto at = other.errors.find(mark) + mark.size();
  const auto hash = other.errors.substr(at, other.errors.find(')', at) - at);
  const auto refused = [&](const std::string& line, const std::string& text) {
    write_file_atomically(kept, hash + "\n" + line + "\n");
    check_refused(search(), text);
  };
  refused("2 0 1 1 0 0 1 end", "samples.txt: sample 2 of target 0, there are 2 of ");
  refused("-1 0 1 1 0 0 1 end", "samples.txt: sample -1 of target 0");
  refused("0 99999 1 1 0 0 1 end", "samples.txt: sample 0 of target 99999");
  refused("0 0 1 1 0 0 -5 end", "-5 products");
  fs::remove(kept);
  fs::create_symlink("/dev/zero", kept);
  check_refused(search(), "samples.txt: is a device, not a regular file");
}

TEST_CASE("Models and batches that no machine holds are one sentence with the bound") {
  const SmallRunFolder run(3);
  const auto train = [&](const std::vector<std::string>& settings, const char* verb = "train") {
    std::vector<std::string> words = {verb};
    for (const auto& setting : settings) words.insert(words.end(), {"--set", setting});
    return run.run(words, "timeout 60");
  };
  check_refused(train({"model.n_layer=1000000000"}), "model.n_layer: 1000000000 is out of bounds");
  check_refused(train({"model.n_embd=1000000000"}), "1 to 65536 are allowed");
  check_refused(train({"model.n_layer=1024", "model.n_embd=65536"}),
                "a model of 52793880674304 parameters: this takes");
  check_refused(train({"model.n_layer=1024", "model.n_embd=65536"}, "spectrum"),
                "a model of 52793880674304 parameters: this takes");
  check_refused(train({"model.block_size=1048576", "model.head_dim=4096"}),
                "model.block_size x head_dim: 1048576 x 4096 is above 1073741824");
  check_refused(train({"trainer.micro_batch_size=1048576", "data.sequence_length=1048576"}, "plan"),
                "trainer.micro_batch_size: 1048576 x data.sequence_length 1048576 is above");
  check_refused(train({"trainer.steps=1099511627776", "trainer.global_batch_tokens=1099511627776"}),
                "trainer.steps x trainer.global_batch_tokens: 1099511627776 x 1099511627776");
  CHECK(!fs::exists(run.folder / "run"));
}

TEST_CASE("Plans whose numbers would wrap around are refused") {
  Parameter block;
  block.name.assign(1, 'w');
  block.shape = {4, 4};
  const ParameterLayout layout({block});
  const auto plan = [&](const nlohmann::json& fields) {
    HessianConfig config;
    set_fields(config, fields);
    return input_error([&] { plan_measurement(config, layout); });
  };
  const auto rules = partition_rule_names();
  const nlohmann::json lanczos = {{"steps", 4}};
  nlohmann::json energies = {{"partitions", rules}};
  CHECK(plan({{"lanczos", lanczos}, {"energies", energies}}) == "no error");
  energies.update({{"code_vectors", 1 << 30}, {"codes", 1 << 30}});
  CHECK_THAT(
      plan({{"lanczos", lanczos}, {"energies", energies}}),
      Contains("hessian.energies.partitions x code_vectors x codes: 10 x 1073741824 x 1073741824"));
  CHECK_THAT(input_error([] {
               dataset_spec("gaussian_classes", {{"features", 1 << 20}, {"examples", 1 << 22}});
             }),
             Contains("are more than 2147483648 numbers"));
  CHECK_THAT(input_error([] {
               model_spec("quadratic", {{"blocks", 1000}, {"block_size", 2000}});
             }),
             Contains("2000 x 1000 blocks are above 30000 parameters"));
}

TEST_CASE("A token file that becomes shorter during a run ends it with code 2") {
  const SmallRunFolder run(1'000'000);
  const auto path = run.folder / "train.bin";
  const pid_t process = start_program({"train", run.config});
  const auto rows = run.folder / "run/run.h5";
  for (int i = 0; i < 300 && !fs::exists(rows); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  REQUIRE(fs::exists(rows));
  fs::resize_file(path, 1024);
  int status = 0;
  // The next window beyond the first page ends it; without the handler it would be SIGBUS.
  pid_t ended = 0;
  for (int i = 0; i < 600 && ended == 0; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    ended = ::waitpid(process, &status, WNOHANG);
  }
  if (ended == 0) ::kill(process, SIGKILL);
  REQUIRE(ended == process);
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 2);
}
