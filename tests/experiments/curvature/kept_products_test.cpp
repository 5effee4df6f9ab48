// Products that outlive the process that made them, and the searches and spectra that go on by
// them.
#include "experiments/curvature/kept_products.hpp"

#include <ATen/ATen.h>

#include "core/io/atomic_file.hpp"
#include "core/io/input_file.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/temporary_folder.hpp"

using namespace blockwise;
using namespace blockwise::testing;
namespace fs = std::filesystem;

namespace {

constexpr std::int64_t kRows = 7;

// A x_k = y_k, x_k+1 = y_k / 4: each argument follows from the product before it.
struct Chain {
  at::ScalarType type = at::kFloat;
  TemporaryFolder folder;
  std::string key = "chain";
  double first = 1.0;

  fs::path file() const { return folder / "products.bin"; }
  // The last product; `made` counts those that were made and not taken.
  at::Tensor run(std::int64_t products, std::int64_t& made) const {
    made = 0;
    const auto matrix = at::arange(kRows * kRows, at::kDouble).reshape({kRows, kRows}).sin();
    const auto symmetric = (matrix + matrix.t()).to(type);
    const FunctionOperator a(kRows, symmetric.options(), [&](const at::Tensor& x) {
      ++made;
      return symmetric.mv(x);
    });
    const KeptProducts kept(a, file(), key);
    auto x = at::full({kRows}, first, symmetric.options());
    for (std::int64_t k = 0; k < products; ++k) x = kept(x).div(4.0);
    return x;
  }
};

}  // namespace

TEST_CASE("Kept products: work that was stopped takes them and goes on with the same bits") {
  const Chain chain{GENERATE(at::kFloat, at::kDouble)};
  std::int64_t made = 0;
  const auto whole = chain.run(10, made);
  CHECK(made == 10);
  fs::remove(chain.file());
  chain.run(6, made);
  CHECK(made == 6);
  const auto goes_on = [&](std::int64_t left) {
    CHECK(at::equal(chain.run(10, made), whole));
    CHECK(made == left);
    chain.run(10, made);
    CHECK(made == 0);
  };
  const auto text = read_text_file(chain.file());
  const auto record = std::ssize(text.substr(text.find('\n') + 1)) / 6;
  CHECK(record == 8 + kRows * std::int64_t(at::elementSize(chain.type)));
  SECTION("as it is") { goes_on(4); }
  SECTION("with half a product at its end") {
    fs::resize_file(chain.file(), text.size() - 3);
    goes_on(5);
  }
  SECTION("with a byte that is another") {
    auto damaged = text;
    damaged[text.size() - std::size_t(record) - 1] ^= 1;
    write_file_atomically(chain.file(), damaged);
    goes_on(6);
  }
  SECTION("with nothing but its head") {
    write_file_atomically(chain.file(), text.substr(0, text.find('\n') + 1));
    goes_on(10);
  }
}

TEST_CASE("Kept products: those of another work, or of other arguments, are not taken") {
  Chain chain;
  std::int64_t made = 0;
  chain.run(6, made);
  if (GENERATE(true, false)) {
    chain.key = "another";
  } else {
    chain.first = 2.0;
  }
  chain.run(6, made);
  CHECK(made == 6);
  chain.run(6, made);
  CHECK(made == 0);
}
