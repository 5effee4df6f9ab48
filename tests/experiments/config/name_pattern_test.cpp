// Names by pattern, and what somebody may have meant.
#include "experiments/config/name_pattern.hpp"

#include "tests/support/catch.hpp"

using namespace blockwise;

TEST_CASE("Shell patterns take the whole name") {
  const auto matches = [](const char* pattern, const char* name) {
    return matches_pattern(pattern, name);
  };
  CHECK(matches("*", ""));
  CHECK(matches("*.attn.*", "h.0.attn.c_attn.weight"));
  CHECK(matches("h.?.ln_[12].weight", "h.3.ln_2.weight"));
  CHECK(matches("h.[0-2].*", "h.1.x"));
  CHECK(matches("h.[!0-2].*", "h.3.x"));
  CHECK(matches("a[]x]b", "a]b"));
  CHECK(matches("a[b", "a[b"));
  CHECK(matches("a\\*b", "a*b"));
  CHECK_FALSE(matches("a\\*b", "acb"));
  CHECK_FALSE(matches("h.[0-2].*", "h.3.x"));
  CHECK_FALSE(matches("h.[!0-2].*", "h.1.x"));
  CHECK_FALSE(matches("attn", "h.0.attn.c_attn.weight"));
  CHECK_FALSE(matches("*.attn", "h.0.attn.x"));
  CHECK_FALSE(matches("?", ""));
  CHECK_FALSE(matches("", "a"));
}

TEST_CASE("A pattern of many stars takes no longer than its length times the name's") {
  std::string pattern;
  for (int i = 0; i < 300; ++i) pattern += "*a";
  // Trying every way to divide the name among the stars would take longer than the universe has.
  CHECK_FALSE(matches_pattern(pattern + "b", std::string(2000, 'a')));
}

TEST_CASE("The nearest names are those that need the fewest changes") {
  const std::vector<std::string> names = {"h.0.attn.c_attn.weight", "h.0.attn.c_proj.weight",
                                          "h.0.mlp.c_fc.weight", "wte.weight"};
  using Names = std::vector<std::string>;
  CHECK(nearest_names("*.atn.*", names, 2) == Names{names[0], names[1]});
  CHECK(nearest_names("wte.weigth", names, 2) == Names{"wte.weight"});
  CHECK(nearest_names("*.completely_else", names, 2).empty());
}
