// States of long computations that come back changed: every number in them is one that this process
// could have written, or the file is refused.
#include <ATen/ATen.h>

#include "core/base/error.hpp"
#include "core/base/linear_operator.hpp"
#include "core/io/hdf5_state.hpp"
#include "hessian/evidence/partition_energies.hpp"
#include "hessian/lanczos.hpp"
#include "hessian/thick_restart.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/set_fields.hpp"
#include "tests/support/temporary_folder.hpp"

using namespace blockwise;
using namespace blockwise::testing;
using blockwise::testing::Contains;

namespace {

const DenseOperator& operator_of_six() {
  static const DenseOperator a(at::diag(at::arange(1, 7, at::kDouble)));
  return a;
}

PartitionProbes probes() {
  const auto halves = at::tensor({0, 0, 0, 1, 1, 1}, at::kLong);
  return PartitionProbes(operator_of_six(), {{0, 3}, {3, 3}}, {{halves, 2}},
                         {.vectors = 4, .codes = 2, .seed = 1});
}

Lanczos lanczos() { return {operator_of_six(), at::ones({6}, at::kDouble), {.steps = 4}}; }

ThickRestart thick() {
  EigenpairOptions options;
  options.pairs = 1;
  options.end = SpectrumEnd::largest;
  return {operator_of_six(), at::ones({6}, at::kDouble), options};
}

// What loading says of the state of `saved` after `change`.
template <typename Process>
std::string loaded(const Process& saved, Process fresh,
                   const std::function<void(Hdf5File&)>& change) {
  const TemporaryFolder folder;
  save_state(folder / "s.h5", [&](Hdf5File& file) {
    saved.save(Hdf5StateWriter(file, "/p"));
    change(file);
  });
  return input_error(
      [&] { fresh.load(Hdf5StateReader(Hdf5File::open_for_reading(folder / "s.h5"), "/p")); });
}

// A group /q like /p, but for one array; read in its place.
template <typename Process>
std::string with_array(const Process& saved, Process fresh, const std::string& name,
                       const std::vector<std::int64_t>& shape) {
  const TemporaryFolder folder;
  save_state(folder / "s.h5", [&](Hdf5File& file) { saved.save(Hdf5StateWriter(file, "/p")); });
  const auto old = Hdf5File::open_for_reading(folder / "s.h5");
  save_state(folder / "t.h5", [&](Hdf5File& file) {
    const Hdf5StateWriter state(file, "/q");
    for (const auto& key :
         {"rows", "vectors", "sections", "levels", "done", "reorthogonalisation", "broke_down",
          "capacity", "products", "restarts", "starts", "converged", "copies_found", "ended"}) {
      try {
        state.number(key, old.integer_attribute("/p", key));
      } catch (const InputError&) {  // of another kind of process
      }
    }
    for (const auto& array : old.children("/p")) {
      if (array == name) {
        state.array(name, at::ones(shape, at::kDouble), "of another shape");
        continue;
      }
      auto values = at::empty(old.array_shape("/p/" + array), at::kDouble);
      old.read_array("/p/" + array, {values.data_ptr<double>(), std::size_t(values.numel())});
      state.array(array, values, "as it was");
    }
  });
  return input_error(
      [&] { fresh.load(Hdf5StateReader(Hdf5File::open_for_reading(folder / "t.h5"), "/q")); });
}

// A state that is kept by no file.
struct Memory : StateWriter, StateReader {
  mutable std::map<std::string, std::int64_t> numbers;
  mutable std::map<std::string, at::Tensor> arrays;

  void number(const std::string& name, std::int64_t value) const override { numbers[name] = value; }
  void array(const std::string& name, const at::Tensor& values, const char*) const override {
    arrays[name] = values.clone();
  }
  bool has_array(const std::string& name) const override { return arrays.count(name) > 0; }
  std::int64_t number(const std::string& name) const override { return numbers.at(name); }
  std::vector<std::int64_t> shape(const std::string& name) const override {
    return arrays.at(name).sizes().vec();
  }
  void read(const std::string& name, const at::Tensor& into) const override {
    into.copy_(arrays.at(name));
  }
  std::string place() const override { return "memory"; }
};

}  // namespace

TEST_CASE("A process does not mind where its state is kept") {
  auto whole = lanczos(), first = lanczos(), second = lanczos();
  whole.run();
  first.run([](std::int64_t steps) { return steps < 2; });
  const Memory memory;
  first.save(memory);
  second.load(memory);
  CHECK(second.steps() == 2);
  second.run();
  CHECK(second.tridiagonal().alpha == whole.tridiagonal().alpha);
  CHECK(second.tridiagonal().beta == whole.tridiagonal().beta);
}

TEST_CASE("A saved state that was changed is refused: probes of a partition") {
  auto saved = probes();
  saved.run({}, [] { return false; });
  CHECK(loaded(saved, probes(), [](Hdf5File&) {}) == "no error");
  for (const std::int64_t done : {-1, 5, 1 << 30}) {
    CHECK_THAT(loaded(saved, probes(), [&](Hdf5File& f) { f.set_attribute("/p", "done", done); }),
               Contains(fmt::format("/p: done is {}, allowed are 0 to 4", done)));
  }
  CHECK(with_array(saved, probes(), "nothing", {}) == "no error");
  // These would be spread over the whole state.
  CHECK_THAT(with_array(saved, probes(), "inside", {1, 1, 1}),
             Contains("/q/inside: the shape is [1, 1, 1], this process has [1, 4, 2]"));
  CHECK_THAT(with_array(saved, probes(), "diagonal_squares", {1}), Contains("[2]"));
  CHECK_THAT(with_array(saved, probes(), "diagonal_sums", {1, 6}), Contains("diagonal_sums"));
}

TEST_CASE("A saved state that was changed is refused: Lanczos") {
  auto saved = lanczos();
  saved.run([](std::int64_t steps) { return steps < 2; });
  CHECK(loaded(saved, lanczos(), [](Hdf5File&) {}) == "no error");
  CHECK(with_array(saved, lanczos(), "nothing", {}) == "no error");
  CHECK_THAT(with_array(saved, lanczos(), "alpha", {5}), Contains("up to 4 steps"));
  CHECK_THAT(with_array(saved, lanczos(), "alpha", {3}), Contains("2 vectors after 3 steps"));
  CHECK_THAT(with_array(saved, lanczos(), "alpha", {2, 1}), Contains("/q/alpha"));
  // One number less than steps: the last one would be read beyond the end.
  CHECK_THAT(with_array(saved, lanczos(), "beta", {1}), Contains("/q/beta: the shape is [1]"));
  CHECK_THAT(with_array(saved, lanczos(), "vector-1", {7}), Contains("the shape is [7]"));
  CHECK_THAT(loaded(saved, lanczos(),
                    [](Hdf5File& f) { f.set_attribute("/p", "vectors", std::int64_t{5}); }),
             Contains("vectors is 5, allowed are 0 to 4"));
  CHECK_THAT(with_array(saved, lanczos(), "vector-1", {1, 6}), Contains("the shape is [1, 6]"));
  CHECK_THAT(with_array(saved, lanczos(), "next", {1}), Contains("/q/next: the shape is [1]"));
}

TEST_CASE("A saved state that was changed is refused: eigenpairs") {
  auto saved = thick();
  saved.run([](std::int64_t products) { return products < 2; });
  CHECK(loaded(saved, thick(), [](Hdf5File&) {}) == "no error");
  CHECK(with_array(saved, thick(), "nothing", {}) == "no error");
  const auto with = [&](const char* key, std::int64_t value) {
    return loaded(saved, thick(), [&](Hdf5File& f) { f.set_attribute("/p", key, value); });
  };
  CHECK_THAT(with("products", -1), Contains("products is -1"));
  CHECK_THAT(with("restarts", 1000), Contains("restarts is 1000"));
  CHECK_THAT(with_array(saved, thick(), "scales", {1}), Contains("/q/scales: the shape is [1]"));
  CHECK_THAT(with_array(saved, thick(), "vector-0", {7}), Contains("the shape is [7]"));
  CHECK_THAT(with_array(saved, thick(), "next", {1}), Contains("/q/next"));
}

TEST_CASE("What is wrong with a saved state starts with its file") {
  const TemporaryFolder folder;
  const auto path = folder / "s.h5";
  auto saved = lanczos();
  saved.run();
  save_state(path, [&](Hdf5File& file) { saved.save(Hdf5StateWriter(file, "/a")); });
  auto other = thick();
  CHECK_THAT(input_error([&] {
               load_state(path,
                          [&](const Hdf5File& file) { other.load(Hdf5StateReader(file, "/a")); });
             }),
             Contains(path.string() + ": /a") && Contains("is measured again"));
}
