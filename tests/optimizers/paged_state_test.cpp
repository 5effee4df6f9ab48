// State in a file, of which a bound is in memory: the same bits, the bound, and what is refused.
#include "core/memory/paged_file.hpp"

#include <ATen/ATen.h>
#include <sys/vfs.h>

#include "tests/support/catch.hpp"
#include "tests/support/optimizer_setup.hpp"
#include "tests/support/set_fields.hpp"
#include "tests/support/temporary_folder.hpp"

using namespace blockwise;
using namespace blockwise::testing;

namespace {

constexpr std::int64_t kMiB = std::int64_t{1} << 20;
constexpr PagedContent kState{"the optimizer's state", "optimizer.state.resident_mb"};

// Eight matrices, 4 MiB of AdamW's state.
ParameterLayout layout_of_matrices() {
  std::vector<Parameter> parameters;
  for (int i = 0; i < 8; ++i) {
    Parameter matrix;
    matrix.name = "w" + std::to_string(i);
    matrix.shape = {256, 256};
    parameters.push_back(matrix);
  }
  return ParameterLayout(parameters);
}

nlohmann::json fields_of(const std::string& rule, std::int64_t resident_mb,
                         const std::filesystem::path& folder, const std::string& format = "fp32") {
  return {{"rule", rule},
          {"weight_decay", 0.1},
          {"state",
           {{"first_moments", format},
            {"second_moments", format},
            {"resident_mb", resident_mb},
            {"folder", folder.string()}}}};
}

struct Trained {
  explicit Trained(const nlohmann::json& fields) : store(layout_of_matrices(), at::kCPU) {
    fill_parameters(store);
    optimizer.emplace(optimizer_config(fields), store, 1);
  }
  void step(int draw) {
    fill_gradients(store, draw);
    optimizer->step(1e-2);
  }
  ParameterStore store;
  std::optional<Optimizer> optimizer;
};

// Files in memory cannot leave it.
bool on_disk(const std::filesystem::path& folder) {
  struct statfs system {};
  constexpr long kTmpfs = 0x01021994;
  return ::statfs(folder.c_str(), &system) == 0 && system.f_type != kTmpfs;
}

}  // namespace

TEST_CASE("Paged state: every bit is that of state in memory, under a quarter of its size") {
  const TemporaryFolder folder;
  for (const auto* format : {"fp32", "dynamic_8bit"}) {
    for (const auto* rule : {"adamw", "adam_mini", "muon", "adafactor"}) {
      INFO(rule << ", " << format);
      Trained plain(fields_of(rule, 0, "", format));
      Trained paged(fields_of(rule, 1, folder.path(), format));
      REQUIRE(paged.optimizer->state().pages() != nullptr);
      for (int draw = 0; draw < 5; ++draw) {
        plain.step(draw);
        paged.step(draw);
      }
      CHECK(at::equal(plain.store.parameters(), paged.store.parameters()));
      const auto a = plain.optimizer->state().by_parameter();
      const auto b = paged.optimizer->state().by_parameter();
      REQUIRE(a.size() == b.size());
      for (std::size_t i = 0; i < a.size(); ++i) {
        CHECK(a[i].first == b[i].first);
        CHECK(at::equal(a[i].second, b[i].second));
      }
    }
  }
}

TEST_CASE("Paged state: what is in memory stays under the bound, and is read and written") {
  const TemporaryFolder folder;
  if (!on_disk(folder.path())) SUCCEED("the temporary folder is in memory");
  Trained paged(fields_of("adamw", 1, folder.path()));
  const auto& state = paged.optimizer->state();
  CHECK(state.resident_bytes() == kMiB);
  for (int draw = 0; draw < 4; ++draw) {
    paged.step(draw);
    if (on_disk(folder.path())) CHECK(state.pages()->resident_bytes() <= kMiB);
  }
  const auto& report = state.pages()->report();
  // Eight tensors of 512 KiB in four steps; two are in memory at a time, what is read was written.
  CHECK(report.bytes_written >= 4 * 6 * kMiB / 2);
  CHECK(report.bytes_read >= 3 * 6 * kMiB / 2);
  CHECK(report.bytes_read <= report.bytes_written);
  state.evict();
  if (on_disk(folder.path())) CHECK(state.pages()->resident_bytes() == 0);
  // Read behind the pages' back, as who looks at the state does.
  for (const auto& [name, tensor] : state.by_parameter()) REQUIRE(tensor.sum().item<float>() != 0);
  state.evict();
  if (on_disk(folder.path())) CHECK(state.pages()->resident_bytes() == 0);
  CHECK(std::filesystem::is_empty(folder.path()));
}

TEST_CASE(
    "Paged files: steps that go over everything read again what is beyond the bound, no more") {
  const TemporaryFolder folder;
  constexpr std::int64_t kParts = 8, kResident = 6, kSteps = 5;
  std::vector<std::vector<ByteRange>> uses;
  for (std::int64_t i = 0; i < kParts; ++i) uses.push_back({{i * kMiB, kMiB}});
  PagedFile pages(kState, {kResident * kMiB, folder.path()}, kParts * kMiB, uses);
  std::vector<std::byte> written(kParts);
  for (std::int64_t step = 0; step < kSteps; ++step) {
    for (std::int64_t i = kParts - 1; i >= 0; --i) {  // as a backward pass
      pages.begin_use(std::size_t(i));
      auto& value = pages.data()[i * kMiB];
      CHECK(value == written[std::size_t(i)]);
      value = written[std::size_t(i)] = std::byte(10 * step + i);
      pages.end_use(std::size_t(i));
    }
  }
  // In every step but the first the two beyond the bound, and the one that makes room for them: of
  // what leaves to let the next in, the one before it is still being written.
  CHECK(pages.report().bytes_read >= (kSteps - 1) * (kParts - kResident) * kMiB);
  CHECK(pages.report().bytes_read <= (kSteps - 1) * (kParts - kResident + 2) * kMiB);
  if (on_disk(folder.path())) CHECK(pages.resident_bytes() <= kResident * kMiB);
}

TEST_CASE("Paged files: what is only looked at is not written again") {
  const TemporaryFolder folder;
  std::vector<std::vector<ByteRange>> uses;
  for (std::int64_t i = 0; i < 4; ++i) uses.push_back({{i * kMiB, kMiB}});
  PagedFile pages(kState, {2 * kMiB, folder.path()}, 4 * kMiB, uses);
  for (std::size_t i = 0; i < 4; ++i) {
    pages.begin_use(i);
    pages.data()[std::int64_t(i) * kMiB] = std::byte(i + 1);
    pages.end_use(i);
  }
  pages.evict_all();
  const auto written = pages.report().bytes_written;
  CHECK(written == 4 * kMiB);
  for (std::size_t i = 0; i < 4; ++i) {
    pages.look_at(i);
    CHECK(pages.data()[std::int64_t(i) * kMiB] == std::byte(i + 1));
  }
  pages.evict_all();
  CHECK(pages.report().bytes_written == written);
  CHECK(pages.report().bytes_read == 4 * kMiB);
}

TEST_CASE("Paged state: continues from saved state of either kind") {
  const TemporaryFolder folder;
  Trained plain(fields_of("adamw", 0, "")), paged(fields_of("adamw", 1, folder.path()));
  for (int draw = 0; draw < 2; ++draw) plain.step(draw);
  paged.optimizer->load_state(2, plain.optimizer->state().by_parameter());
  const auto* pages = paged.optimizer->state().pages();
  if (on_disk(folder.path())) CHECK(pages->resident_bytes() == 0);
  {
    at::NoGradGuard no_grad;
    paged.store.parameters().copy_(plain.store.parameters());
  }
  plain.step(2);
  paged.step(2);
  CHECK(at::equal(plain.store.parameters(), paged.store.parameters()));
}

TEST_CASE("Paged state: a bound that is too small and a folder that is none are refused") {
  const TemporaryFolder folder;
  CHECK_THAT(input_error([&] {
               PagedFile(kState, {4 * kMiB, folder.path()}, 8 * kMiB,
                         {{{0, 3 * kMiB}}, {{3 * kMiB, 2 * kMiB}}});
             }),
             Contains("resident_mb: 4 MB") && Contains("5.0"));
  CHECK_THAT(input_error([&] {
               PagedFile(kState, {4 * kMiB, folder / "none"}, kMiB, {{{0, kMiB}}});
             }),
             Contains("none: the optimizer's state cannot be kept here"));
}
