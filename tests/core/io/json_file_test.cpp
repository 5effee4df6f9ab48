// JSON that somebody else wrote.
#include "core/io/json_file.hpp"

#include "core/base/error.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/set_fields.hpp"

using namespace blockwise;
using namespace blockwise::testing;

TEST_CASE("What is no JSON is named with its place") {
  const auto error = [](const std::string& text) {
    return input_error([&] { parse_json(text, "a.json"); });
  };
  CHECK(error("{\n \"a\": }") == "a.json:2:7: not JSON");
  CHECK(error("") == "a.json:1:1: not JSON: the file is empty");
  CHECK(error(std::string(100'000, '[')) == "a.json: nested deeper than 64 levels");
  CHECK(error("{\"a\": 1e999}") == "a.json: the number '1e999' is out of range");
  CHECK(error("[-1e400]") == "a.json: the number '-1e400' is out of range");
  CHECK(error("[18446744073709551616, 1e308]") == "no error");
}
