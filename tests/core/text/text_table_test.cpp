#include "core/text/text_table.hpp"

#include <sstream>

#include "core/base/error.hpp"
#include "tests/support/catch.hpp"

using namespace blockwise;
using blockwise::testing::Contains;

namespace {

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

std::size_t widest(const std::string& text) {
  std::size_t width = 0;
  for (const auto& line : lines_of(text)) width = std::max(width, display_width(line));
  return width;
}

TextTable example() {
  TextTable table({key_column("tensor"), text_column("role"), value_column("loss"),
                   value_column("difference"), detail_column("row"), detail_column("whole")});
  table.add({"model.layers.0.q_proj.weight", "query", "1.8333 ± 0.0158", "-0.0135", "0.5", "0.25"});
  table.add({"model.layers.0.k_proj.weight", "key", "2.5", "baseline", "0.125", "-"});
  return table;
}

}  // namespace

TEST_CASE("Text table: with room for all, columns are as wide as their widest cell") {
  CHECK(lines_of(example().text()) ==
        std::vector<std::string>{
            "tensor                        role              loss  difference    row  whole",
            "model.layers.0.q_proj.weight  query  1.8333 ± 0.0158     -0.0135    0.5   0.25",
            "model.layers.0.k_proj.weight  key                2.5    baseline  0.125      -"});
  CHECK(example().text(78) == example().text());
}

TEST_CASE("Text table: details go first, the last one first, and are named") {
  const auto text = example().text(72);
  CHECK_THAT(text, Contains("0.125") && !Contains("0.25\n"));
  CHECK_THAT(text, Contains("left out for want of room: whole; --wide shows them"));
  const auto narrower = example().text(65);
  CHECK_THAT(narrower, !Contains("0.125") && Contains("row, whole"));
}

TEST_CASE("Text table: values go on in a further table with the keys repeated") {
  const auto lines = lines_of(example().text(60));
  CHECK(lines ==
        std::vector<std::string>{"tensor                        role              loss",
                                 "model.layers.0.q_proj.weight  query  1.8333 ± 0.0158",
                                 "model.layers.0.k_proj.weight  key                2.5", "",
                                 "tensor                        difference",
                                 "model.layers.0.q_proj.weight     -0.0135",
                                 "model.layers.0.k_proj.weight    baseline",
                                 "left out for want of room: row, whole; --wide shows them"});
}

TEST_CASE("Text table: no line is wider than what is asked for, and no value is lost") {
  for (std::size_t width = 16; width < 100; ++width) {
    INFO(width);
    const auto text = example().text(width);
    INFO(text);
    CHECK(widest(text) <= width);
    std::string letters;
    for (const char c : text) {
      if (c != '\n' && c != ' ') letters += c;
    }
    // Below, words are cut; the key has half of the line.
    if (width >= 28) {
      CHECK_THAT(letters, Contains("1.8333") && Contains("0.0158") && Contains("baseline"));
    }
    if (width >= 60) CHECK_THAT(letters, Contains("model.layers.0.q_proj.weight"));
  }
}

TEST_CASE("Text table: wide characters take two columns, combining marks none") {
  CHECK(display_width("größe ±") == 7);
  CHECK(display_width("模型") == 4);
  CHECK(display_width("e\xcc\x81") == 1);
  CHECK(display_width("🙂") == 2);
  TextTable table({key_column("name"), value_column("x")});
  table.add({"模型", "1"});
  table.add({"abcd", "2"});
  CHECK(table.text() == "name  x\n模型  1\nabcd  2\n");
}

TEST_CASE("Text table: a row has as many cells as there are columns") {
  TextTable table({key_column("a"), value_column("b")});
  CHECK_THROWS_AS(table.add({"1"}), InvariantError);
}

TEST_CASE("Wrapped text: at words, below its indentation, a long word stays whole") {
  CHECK(wrapped("one two three\nfour\n", 9) == "one two\nthree\nfour\n");
  CHECK(wrapped("  one two three", 9, 2) == "  one two\n    three");
  CHECK(wrapped("see /a/long/path/of/a/file now", 10) == "see\n/a/long/path/of/a/file\nnow");
  CHECK(wrapped("", 10).empty());
  CHECK(wrapped("a\n\nb", 10) == "a\n\nb");
  CHECK(wrapped_entry("  name  ", "one two three four five six", 28) ==
        "  name  one two three four\n        five six");
}

TEST_CASE("Wrapped command: the lines are one command to a shell") {
  const std::string line = "Next: blockwise train a.yaml --set x=1 --set y=2";
  CHECK(wrapped_command(line, 48) == line);
  CHECK(wrapped_command(line, 40) == "Next: blockwise train a.yaml --set x=1 \\\n    --set y=2");
  CHECK(wrapped_command("one two three", 9) == "one two\n  three");  // words, not a command
}
