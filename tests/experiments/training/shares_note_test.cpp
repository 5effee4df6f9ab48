#include "experiments/training/shares_note.hpp"

#include "tests/support/catch.hpp"

using namespace blockwise;

namespace {

// 800, 400 and 400 elements, and 8.
ParameterLayout three_matrices() {
  std::vector<Parameter> parameters(4);
  parameters[0].name = "table", parameters[0].shape = {100, 8};
  parameters[1].name = "a", parameters[1].shape = {40, 10};
  parameters[2].name = "b", parameters[2].shape = {40, 10};
  parameters[3].name = "bias", parameters[3].shape = {8};
  return ParameterLayout(std::move(parameters));
}

}  // namespace

TEST_CASE("shares note: how large they are, and who owns what stays whole") {
  const auto layout = three_matrices();
  const auto rows = [](std::size_t) { return std::int64_t{1}; };
  CHECK(shares_note(layout, Owners({{0, 804, 1608}}), rows) ==
        "the optimizer is in 2 shares of 50.0, 50.0 % of the parameters");
  const auto whole = [](std::size_t i) { return std::int64_t{i == 1 || i == 2 ? 40 : 1}; };
  CHECK(shares_note(layout, Owners({{0, 800, 800, 1608}}), whole) ==
        "the optimizer is in 3 shares of 49.8, 0.0, 50.2 % of the parameters; tensors that stay "
        "whole, by process: 0, 0, 2");
  CHECK(shares_note(layout, Owners({{0, 400, 800}, {800, 1200, 1608}}), whole) ==
        "the optimizer is in 2 shares of 49.8, 50.2 % of the parameters; tensors that stay whole, "
        "by process: 1, 1");
  // Many are not listed.
  Shares many(11, 1608);
  for (std::size_t r = 0; r < 10; ++r) many[r] = std::int64_t(r) * 80;
  CHECK(shares_note(layout, Owners({many}), rows) ==
        "the optimizer is in 10 shares of 5.0 to 55.2 % of the parameters");
}
