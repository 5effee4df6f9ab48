#include "experiments/records/run_recorder.hpp"

#include <fmt/format.h>

#include "core/base/error.hpp"
#include "core/io/atomic_file.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/child_process.hpp"
#include "tests/support/example_run.hpp"
#include "tests/support/temporary_folder.hpp"

using namespace blockwise;
using namespace blockwise::testing;
namespace fs = std::filesystem;

namespace {

const std::string kHash = example_header().config_hash;

void check_steps(const RunResult& run, std::int64_t count) {
  REQUIRE(run.steps.size() == static_cast<std::size_t>(count));
  for (std::int64_t i = 0; i < count; ++i) {
    const auto& row = run.steps[static_cast<std::size_t>(i)];
    const auto expected = example_step(i + 1);
    CHECK((row.step == expected.step && row.tokens == expected.tokens &&
           row.loss == expected.loss && row.learning_rate == expected.learning_rate &&
           row.gradient_norm == expected.gradient_norm && row.update_norm == expected.update_norm &&
           row.seconds == expected.seconds && row.seconds_data == expected.seconds_data &&
           row.seconds_forward == expected.seconds_forward &&
           row.seconds_backward == expected.seconds_backward &&
           row.seconds_optimizer == expected.seconds_optimizer &&
           row.tokens_per_second == expected.tokens_per_second));
  }
}

void record_steps(RunRecorder& recorder, std::int64_t first, std::int64_t last) {
  for (auto step = first; step <= last; ++step) recorder.record(example_step(step));
}

// The error of a resume; checks that it says what to do.
std::string resume_error(const fs::path& path, const std::string& hash, std::int64_t step) {
  try {
    RunRecorder::resume(path, hash, step);
  } catch (const InputError& error) {
    CHECK_THAT(error.what(), Contains("run.h5") && Contains("Move the file away") &&
                                 Contains("the checkpoints stay"));
    return error.what();
  }
  return "";
}

// 150 steps, evaluations at 0, 50, 100 and 150.
void write_run(const fs::path& path) {
  auto recorder = create_example_run(path);
  recorder.record(example_evaluation(0, 5.0));
  for (std::int64_t step = 50; step <= 150; step += 50) {
    record_steps(recorder, step - 49, step);
    recorder.record(example_evaluation(step, 4.0 - static_cast<double>(step) / 100));
  }
  recorder.record_memory(1000, 5000);
  recorder.set_status(RunState::interrupted, "stopped by the test", 150);
  recorder.close();
}

}  // namespace

TEST_CASE("RunRecorder: what is recorded is read back") {
  const TemporaryFolder folder;
  write_run(folder / "run.h5");
  const auto run = read_run(folder / "run.h5");
  const auto header = example_header();
  CHECK(run.config_yaml == header.config_yaml);
  CHECK(run.config_hash == header.config_hash);
  CHECK(run.provenance.compiler == "GNU 12");
  CHECK(run.provenance.started_at == "2026-01-02T03:04:05Z");
  CHECK((run.provenance.threads == 2 && run.provenance.seed == 3));
  CHECK(run.state == RunState::interrupted);
  CHECK(run.message == "stopped by the test");
  CHECK(run.last_step == 150);
  check_steps(run, 150);
  REQUIRE(run.evaluations.size() == 4);
  CHECK((run.evaluations[0].step == 0 && run.evaluations[0].loss == 5.0));
  const auto& last = run.evaluations[3];
  CHECK((last.step == 150 && last.tokens == 15000 && last.loss == 2.5 &&
         last.perplexity == std::exp(2.5) && last.seconds == 0.25));
  CHECK((run.parameter_bytes == 112 && run.gradient_bytes == 112 && run.optimizer_bytes == 136));
  CHECK((run.peak_allocated == 1000 && run.peak_resident == 5000));
  CHECK(run.state_bytes == header.state_bytes);
}

TEST_CASE("RunRecorder: the layout of the file") {
  const TemporaryFolder folder;
  write_run(folder / "run.h5");
  const auto file = Hdf5File::open_for_reading(folder / "run.h5");
  using Texts = std::vector<std::string>;
  using Numbers = std::vector<std::int64_t>;
  CHECK(file.children("/") ==
        Texts{"config", "evaluations", "memory", "partition", "provenance", "status", "steps"});
  CHECK(file.text_attribute("/", "format") == "blockwise-run");
  CHECK(file.integer_attribute("/", "format_version") == 1);
  CHECK(file.text_attribute("/partition", "rule") == "adam_mini");
  CHECK(file.text_column("/partition/tensor") == Texts{"q_proj.weight", "norm.weight"});
  CHECK(file.text_column("/partition/role") == Texts{"query", "norm"});
  CHECK(file.text_column("/partition/rule") == Texts{"per_head", "per_element"});
  CHECK(file.text_column("/partition/structure") == Texts{"tiles", "elements"});
  CHECK(file.integer_column("/partition/layer") == Numbers{0, -1});
  CHECK(file.integer_column("/partition/rows") == Numbers{4, 4});
  CHECK(file.integer_column("/partition/columns") == Numbers{6, 1});
  CHECK(file.integer_column("/partition/tile_rows") == Numbers{2, 1});
  CHECK(file.integer_column("/partition/tile_columns") == Numbers{6, 1});
  CHECK(file.integer_column("/partition/blocks") == Numbers{2, 4});
  CHECK(file.integer_column("/partition/state_elements") == Numbers{2, 4});
  for (const auto& group :
       {"config", "steps", "evaluations", "memory", "memory/state", "partition", "status"}) {
    for (const auto& name : file.children(std::string("/") + group)) {
      const auto path = fmt::format("/{}/{}", group, name);
      if (path == "/memory/state") continue;
      INFO(path);
      CHECK(!file.text_attribute(path, "units").empty());
      CHECK(!file.text_attribute(path, "description").empty());
    }
  }
  CHECK(file.text_attribute("/steps/loss", "units") == "nats");
}

TEST_CASE("RunRecorder: rows are there after 64 of them, after flush and after kill -9") {
  const TemporaryFolder folder;
  const auto path = folder / "run.h5";
  ChildProcess writer([&](const auto& say) {
    auto recorder = create_example_run(path);
    say("a");
    record_steps(recorder, 1, 130);
    say("b");
    ::pause();
  });
  REQUIRE(writer.hear() == 'a');
  CHECK(read_run(path).state == RunState::running);
  REQUIRE(writer.hear() == 'b');
  check_steps(read_run(path), 128);
  writer.kill();
  check_steps(read_run(path), 128);
}

TEST_CASE("RunRecorder: resume drops what came after the checkpoint and goes on") {
  const TemporaryFolder folder;
  const auto path = folder / "run.h5";
  write_run(path);
  {
    auto recorder = RunRecorder::resume(path, kHash, 100);
    const auto run = read_run(path);
    check_steps(run, 100);
    CHECK(run.evaluations.back().step == 100);
    CHECK((run.state == RunState::running && run.message.empty() && run.last_step == 100));
    CHECK(run.provenance.compiler == "GNU 12");
    record_steps(recorder, 101, 170);
    recorder.record(example_evaluation(150, 2.5));
    recorder.record_memory(400, 6000);
    recorder.set_status(RunState::finished, "", 170);
    recorder.close();
  }
  const auto run = read_run(path);
  check_steps(run, 170);
  CHECK(run.evaluations.size() == 4);
  CHECK(run.state == RunState::finished);
  CHECK((run.peak_allocated == 1000 && run.peak_resident == 6000));
}

TEST_CASE("RunRecorder: every process that goes on is in the file, with its first step") {
  const TemporaryFolder folder;
  const auto path = folder / "run.h5";
  write_run(path);
  const auto resume = [&](std::int64_t step, std::int64_t threads, const std::string& version) {
    auto process = example_header().provenance;
    process.threads = threads;
    process.program_version = version;
    process.device = "a longer name of a processor " + version;
    auto recorder = RunRecorder::resume(path, kHash, step, process);
    record_steps(recorder, step + 1, step + 10);
    recorder.close();
    return read_run(path);
  };
  CHECK(read_run(path).processes.size() == 1);
  resume(100, 8, "0.2.0");
  const auto run = resume(100, 4, "0.3.1");  // of the one before no step is kept
  REQUIRE(run.processes.size() == 2);
  CHECK((run.processes[0].from_step == 1 && run.processes[0].provenance.threads == 2));
  CHECK(run.processes[0].provenance.device == "cpu");
  CHECK((run.processes[1].from_step == 101 && run.processes[1].provenance.threads == 4));
  CHECK(run.processes[1].provenance.program_version == "0.3.1");
  CHECK(run.processes[1].provenance.device == "a longer name of a processor 0.3.1");
  CHECK(run.provenance.threads == 2);
  CHECK(resume(105, 16, "0.3.2").processes.size() == 3);
  // From the first step on: nothing is left of the others.
  const auto fresh = resume(0, 3, "0.4.0");
  REQUIRE(fresh.processes.size() == 1);
  CHECK((fresh.processes[0].from_step == 1 && fresh.processes[0].provenance.threads == 3));
  CHECK((fresh.provenance.threads == 3 && fresh.provenance.program_version == "0.4.0"));
}

TEST_CASE("RunRecorder: a file of before the table of processes opens and gets it") {
  const TemporaryFolder folder;
  const auto path = folder / "run.h5";
  write_run(path);
  {
    auto file = Hdf5File::open_for_appending(path);
    file.remove("/provenance/processes");
    file.close();
  }
  const auto old = read_run(path);
  REQUIRE(old.processes.size() == 1);
  CHECK((old.processes[0].from_step == 1 && old.processes[0].provenance.threads == 2));
  auto process = example_header().provenance;
  process.threads = 8;
  RunRecorder::resume(path, kHash, 100, process).close();
  CHECK(read_run(path).processes.size() == 2);
}

TEST_CASE("RunRecorder: a run that never had a checkpoint starts its rows again") {
  const TemporaryFolder folder;
  write_run(folder / "run.h5");
  auto recorder = RunRecorder::resume(folder / "run.h5", kHash, 0);
  record_steps(recorder, 1, 3);
  recorder.close();
  const auto run = read_run(folder / "run.h5");
  check_steps(run, 3);
  CHECK(run.evaluations.size() == 1);
}

TEST_CASE("RunRecorder: kill -9 at any moment, resume, and the rows are as if nothing happened") {
  const TemporaryFolder folder;
  const auto path = folder / "run.h5";
  std::int64_t done = 0;
  for (int round = 0; round < 10; ++round) {
    ChildProcess writer([&](const auto& say) {
      auto recorder = done == 0 ? create_example_run(path) : RunRecorder::resume(path, kHash, done);
      for (auto step = done + 1;; ++step) {
        recorder.record(example_step(step));
        if (step % 20 != 0) continue;
        recorder.flush();
        say("f");
      }
    });
    std::int64_t heard = 0;
    while (heard < 1 + round && writer.hear() == 'f') ++heard;
    ::usleep(static_cast<useconds_t>(173 * round));
    writer.kill();
    while (writer.hear() == 'f') ++heard;
    done = done / 20 * 20 + 20 * heard;
    const auto rows = static_cast<std::int64_t>(read_run(path).steps.size());
    CHECK(rows >= done);
    check_steps(read_run(path), rows);
  }
}

TEST_CASE("RunRecorder: what cannot be resumed says what to do") {
  const TemporaryFolder folder;
  const auto path = folder / "run.h5";
  write_run(path);
  SECTION("not there") {
    CHECK_THROWS_WITH(RunRecorder::resume(folder / "none.h5", kHash, 100),
                      (folder / "none.h5").string() + ": there is no such file");
  }
  SECTION("another configuration") {
    CHECK_THAT(resume_error(path, "beef", 100),
               Contains("has the hash 0123456789abcdef, this one has beef"));
    check_steps(read_run(path), 150);
  }
  SECTION("rows that end before the checkpoint") {
    CHECK_THAT(resume_error(path, kHash, 151),
               Contains("the rows end at step 150, the checkpoint is of step 151"));
    check_steps(read_run(path), 150);
  }
  SECTION("truncated") {
    fs::resize_file(path, fs::file_size(path) / GENERATE(2, 3, 10));
    CHECK(!resume_error(path, kHash, 100).empty());
    CHECK_THROWS_AS(read_run(path), InputError);
  }
  SECTION("no HDF5") {
    write_file_atomically(path, "hello");
    CHECK_THAT(resume_error(path, kHash, 100), Contains("not an HDF5 file"));
    CHECK_THROWS_WITH(read_run(path), Contains("not an HDF5 file"));
  }
  SECTION("HDF5, but no run") {
    fs::remove(path);
    auto file = Hdf5File::create(path);
    file.set_attribute("/", "format", GENERATE("blockwise-run", "other"));
    file.close();
    CHECK(!resume_error(path, kHash, 100).empty());
    CHECK_THROWS_AS(read_run(path), InputError);
  }
  SECTION("a later format") {
    auto file = Hdf5File::open_for_appending(path);
    file.set_attribute("/", "format_version", std::int64_t{2});
    file.close();
    CHECK_THROWS_WITH(read_run(path), Contains("format version 2, this program reads 1"));
  }
  CHECK(!fs::exists(folder / "run.h5.partial"));
}

TEST_CASE("RunRecorder: a file that is deleted says so, and not that its rows are safe") {
  const TemporaryFolder folder;
  auto recorder = create_example_run(folder / "run.h5");
  record_steps(recorder, 1, 2);
  recorder.flush();
  fs::remove(folder / "run.h5");
  record_steps(recorder, 3, 4);
  CHECK_THROWS_AS(recorder.flush(), FileLostError);
  try {
    recorder.set_status(RunState::finished, "", 4);
    FAIL("no error");
  } catch (const std::runtime_error& error) {
    CHECK_THAT(error.what(), Contains("run.h5: was deleted, moved or replaced"));
    CHECK(std::string(error.what()).find("safe") == std::string::npos);
  }
}

TEST_CASE("RunRecorder: rows out of order are a defect of the caller") {
  const TemporaryFolder folder;
  auto recorder = create_example_run(folder / "run.h5");
  record_steps(recorder, 1, 2);
  recorder.record(example_evaluation(0, 1.0));
  CHECK_THROWS_AS(recorder.record(example_step(2)), InvariantError);
  CHECK_THROWS_AS(recorder.record(example_evaluation(0, 1.0)), InvariantError);
}

TEST_CASE("RunRecorder: a full disk names the file, the reason and what is safe") {
  const TemporaryFolder folder;
  const auto path = folder / "run.h5";
  const auto room = static_cast<rlim_t>(GENERATE(1000, 70'000, 150'000, 222'222));
  ChildProcess writer([&](const auto& say) {
    auto recorder = create_example_run(path);
    limit_file_size(fs::file_size(path) + room);
    const auto error_of = [](auto action) -> std::string {
      try {
        action();
      } catch (const std::runtime_error& error) {
        return error.what();
      }
      return "none";
    };
    const auto first = error_of([&] { record_steps(recorder, 1, 100'000); });
    const auto second = error_of([&] { recorder.set_status(RunState::failed, "full", 1); });
    say(first + (first == second ? ", twice" : ", then " + second));
  });
  const auto text = writer.wait().text;
  CHECK_THAT(text, Contains("run.h5: ") && Contains("cannot be written: File too large; the rows"));
  CHECK_THAT(text, Contains("are safe, twice"));
  const auto mark = text.find("up to step ");
  REQUIRE(mark != std::string::npos);
  const auto safe = std::stoll(text.substr(mark + 11));
  const auto rows = static_cast<std::int64_t>(read_run(path).steps.size());
  CHECK(rows >= safe);
  auto recorder = RunRecorder::resume(path, kHash, safe);
  record_steps(recorder, safe + 1, safe + 70);
  recorder.close();
  check_steps(read_run(path), safe + 70);
}

TEST_CASE("RunRecorder: a disk that is full from the start leaves nothing behind") {
  const TemporaryFolder folder;
  ChildProcess writer([&](const auto&) {
    limit_file_size(2000);
    create_example_run(folder / "run.h5");
  });
  const auto result = writer.wait();
  CHECK(result.exit_code == 1);
  CHECK_THAT(result.text, Contains("run.h5: ") && Contains("File too large"));
  CHECK(fs::is_empty(folder.path()));
}

TEST_CASE("RunRecorder: a long message is cut") {
  const TemporaryFolder folder;
  auto recorder = create_example_run(folder / "run.h5");
  recorder.set_status(RunState::failed, fmt::format("{:x>1023}ü", ""), 0);
  recorder.close();
  CHECK(read_run(folder / "run.h5").message == std::string(1023, 'x'));
}

TEST_CASE("RunRecorder: what was paged adds up over processes, of runs that page") {
  const TemporaryFolder folder;
  const auto path = folder / "run.h5";
  auto header = example_header();
  header.pages = true;
  {
    auto recorder = create_example_run(path, header);
    record_steps(recorder, 1, 10);
    recorder.record_paging({100, 200, 0.25});
    recorder.record_paging({300, 400, 0.5});  // of the same process, later
    recorder.close();
  }
  auto recorder = RunRecorder::resume(path, kHash, 10);
  recorder.record_paging({1, 2, 0.125});
  recorder.close();
  const auto paging = read_run(path).paging;
  REQUIRE(paging);
  CHECK(paging->bytes_read == 301);
  CHECK(paging->bytes_written == 402);
  CHECK(paging->seconds_waited == 0.625);
  create_example_run(folder / "without.h5").record_paging({1, 2, 3.0});
  CHECK_FALSE(read_run(folder / "without.h5").paging);
}

TEST_CASE("RunRecorder: energy adds up over processes, and is unknown once it was not counted") {
  const TemporaryFolder folder;
  const auto path = folder / "run.h5";
  auto header = example_header();
  header.has_energy = true;
  {
    auto recorder = create_example_run(path, header);
    CHECK(read_run(path).energy_microjoules == 0);
    record_steps(recorder, 1, 10);
    recorder.record_energy(300);
    recorder.record_energy(500);
    recorder.close();
  }
  const auto continued = [&](std::optional<std::int64_t> microjoules) {
    auto recorder = RunRecorder::resume(path, kHash, 10);
    recorder.record_energy(microjoules);
    recorder.close();
    return read_run(path).energy_microjoules;
  };
  CHECK(continued(70) == 570);
  CHECK(continued(1) == 571);
  CHECK_FALSE(continued(std::nullopt));
  CHECK_FALSE(continued(9));
  create_example_run(folder / "without.h5").record_energy(5);
  CHECK_FALSE(read_run(folder / "without.h5").energy_microjoules);
}
