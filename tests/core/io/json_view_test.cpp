#include "core/io/json_view.hpp"

#include <limits>

#include "tests/support/catch.hpp"

using namespace blockwise;
using blockwise::testing::Contains;

namespace {

// The error of reading something from a document.
template <typename Read>
std::string error_of(const std::string& text, Read read) {
  const auto document = nlohmann::ordered_json::parse(text);
  try {
    read(JsonView(document, "a.json"));
  } catch (const JsonError& error) {
    return error.what();
  }
  return "no error";
}

}  // namespace

TEST_CASE("JSON views: values, and what stands in the way") {
  const auto document = nlohmann::ordered_json::parse(
      R"({"name": "x", "list": [{"n": 3}, {"n": -4}], "none": null, "more": {"b": 1, "a": 2}})");
  const JsonView view(document, "a.json");
  CHECK(view.at("name").text() == "x");
  CHECK(view.at("list").items()[1].at("n").whole() == -4);
  CHECK(view.at("more").entries().front().first == "b");
  CHECK((view.has("name") && !view.has("none") && !view.has("absent")));
  CHECK(!view.at("name").has("key of a text"));
}

TEST_CASE("JSON views: every look-up that fails names file, key and value") {
  const auto n = [](const JsonView& view) { view.at("n").whole(0, 9); };
  CHECK(error_of("{}", n) == "a.json: 'n' is missing");
  CHECK(error_of(R"({"n": null})", n) == "a.json: 'n' is missing");
  CHECK(error_of("[1]", n) == "a.json: the file is a list, no object with keys");
  CHECK(error_of(R"({"n": 10})", n) == "a.json: 'n' is 10, allowed are 0 to 9");
  CHECK(error_of(R"({"n": -1})", n) == "a.json: 'n' is -1, allowed are 0 to 9");
  CHECK(error_of(R"({"n": 1.0})", n) == "a.json: 'n' is 1.0, no whole number");
  CHECK(error_of(R"({"n": "1"})", n) == "a.json: 'n' is \"1\", no whole number");
  CHECK(error_of(R"({"n": 18446744073709551615})", n) ==
        "a.json: 'n' is 18446744073709551615, allowed are 0 to 9");
  CHECK(error_of(R"({"n": true})", [](const JsonView& v) { v.at("n").text(); }) ==
        "a.json: 'n' is true, no text");
  CHECK(error_of(R"({"n": {"m": [1, "x"]}})", [](const JsonView& v) {
          v.at("n").at("m").items()[1].whole();
        }) == "a.json: 'n.m[1]' is \"x\", no whole number");
  CHECK(error_of(R"({"n": {}})", [](const JsonView& v) { v.at("n").items(); }) ==
        "a.json: 'n' is an object, no list");
  CHECK(error_of(R"({"n": []})", [](const JsonView& v) { v.at("n").entries(); }) ==
        "a.json: 'n' is a list, no object with keys");
  const auto long_text = error_of(fmt::format("{{\"n\": \"{:a>5000}\"}}", ""), n);
  CHECK(long_text.size() < 120);
}

TEST_CASE("JSON views: the largest and the smallest whole number") {
  const auto document =
      nlohmann::ordered_json::parse("[9223372036854775807, -9223372036854775808]");
  const auto items = JsonView(document, "a.json").items();
  CHECK(items[0].whole() == std::numeric_limits<std::int64_t>::max());
  CHECK(items[1].whole() == std::numeric_limits<std::int64_t>::min());
}
