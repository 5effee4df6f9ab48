#include "core/memory/tensors_in_file.hpp"

#include <ATen/ATen.h>

#include <thread>

#include "core/base/error.hpp"
#include "core/memory/memory_meter.hpp"
#include "core/memory/meta_memory.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/temporary_folder.hpp"

using namespace blockwise;
using namespace blockwise::testing;

namespace {

constexpr std::int64_t kBytes = 4096;

}  // namespace

TEST_CASE("Tensors from a size on are in files, with the same values") {
  const TemporaryFolder folder;
  const auto before = at::arange(2000, at::kFloat);
  at::Tensor outlives, resized;
  {
    const MemoryMeter meter(at::kCPU);
    const TensorsInFile files(folder.path(), kBytes);
    auto small = at::ones({1023});
    CHECK(files.bytes() == 0);
    CHECK(meter.peak_allocated() >= 4092);
    const auto large = at::ones({1024});
    CHECK(files.bytes() == 4096);
    outlives = before + 1.0;
    CHECK(files.bytes() == 4096 + 8000);
    // Grown in place, as at::cat and resize_ do.
    auto grown = at::empty({10});
    grown.resize_({3000}).copy_(before.narrow(0, 0, 1).expand({3000}));
    CHECK(files.peak_bytes() == 4096 + 8000 + 12000);
    CHECK(meter.peak_allocated() < 8192);  // the small ones alone
    // No names: nothing is left behind whatever happens.
    CHECK(std::filesystem::is_empty(folder.path()));
    CHECK(large.sum().item<double>() == 1024.0);
    resized = small;
  }
  resized.resize_({5000}).fill_(2.0);
  CHECK(resized.sum().item<double>() == 10000.0);
  CHECK(at::equal(outlives - 1.0, before));
}

TEST_CASE("Tensors of every thread are in files, and one object within another counts its own") {
  const TemporaryFolder folder;
  const TensorsInFile outer(folder.path(), kBytes);
  {
    const TensorsInFile inner(folder.path(), 4 * kBytes);
    const auto large = at::zeros({4 * kBytes / 4}), middle = at::zeros({kBytes / 4});
    CHECK(inner.bytes() == 4 * kBytes);
    CHECK(outer.bytes() == kBytes);
  }
  at::Tensor made;
  std::thread([&] { made = at::full({2048}, 3.0); }).join();
  CHECK(outer.bytes() == 8192);
  CHECK(made.sum().item<double>() == 3.0 * 2048);
  made.reset();
  CHECK(outer.bytes() == 0);
}

TEST_CASE("A folder that holds no such file is one error, and nothing is left") {
  const TemporaryFolder folder;
  {
    const TensorsInFile files(folder.path() / "missing", kBytes);
    CHECK_THROWS_WITH(at::zeros({1024}), Contains("missing: a large tensor cannot be kept here"));
    CHECK(at::zeros({1023}).sum().item<double>() == 0.0);
  }
  const TensorsInFile files(folder.path(), kBytes);
  CHECK_THROWS_WITH(at::empty({std::int64_t{1} << 55}),
                    Contains(folder.path().string()) && Contains("no room for"));
  CHECK(files.bytes() == 0);
}

TEST_CASE("A rehearsal counts what would be in files apart") {
  MetaMemory memory;
  const auto options = at::TensorOptions(at::kMeta);
  const auto model = at::empty({5000}, options);
  memory.put_in_files(kBytes);
  const auto small = at::empty({1023}, options);
  auto large = at::empty({1024}, options);
  CHECK(memory.allocated() == 20000 + 4092);
  CHECK(memory.allocated_in_files() == 4096);
  large.reset();
  CHECK(memory.allocated_in_files() == 0);
  CHECK(memory.peak_in_files() == 4096);
  CHECK(memory.peak() == 20000 + 4092);
}
