#include "core/text/printable_text.hpp"

#include "tests/support/catch.hpp"

using namespace blockwise;
using blockwise::testing::Contains;

TEST_CASE("Printable text: what a terminal obeys is written out, other UTF-8 stays") {
  CHECK(printable("plain ± Überlänge 模型 🙂") == "plain ± Überlänge 模型 🙂");
  CHECK(printable("a\x1b[2J\r\n\t\x7f") == "a\\x1b[2J\\x0d\\x0a\\x09\\x7f");
  CHECK(printable(std::string_view("a\0b", 3)) == "a\\x00b");
  CHECK(printable("\xc2\x9b") == "\\xc2\\x9b");           // C1's control sequence introducer
  CHECK(printable("\xe2\x80\xae") == "\\u{202e}");        // right-to-left override
  CHECK(printable("\xe2\x80\xa8") == "\\u{2028}");        // line separator
  CHECK(printable("a\xff\x80z") == "a\\xff\\x80z");       // no UTF-8
  CHECK(printable("\xe2\x80") == "\\xe2\\x80");           // cut
  CHECK(printable("\xc0\xaf") == "\\xc0\\xaf");           // '/' in two bytes
  CHECK(printable("\xed\xa0\x80") == "\\xed\\xa0\\x80");  // a surrogate
  CHECK(printable("\xf4\x90\x80\x80") == "\\xf4\\x90\\x80\\x80");  // above U+10FFFF
}

TEST_CASE("Names: what is allowed, and what is said of the rest") {
  for (const auto* good : {"a", "gpt2-tiny", "GPT-2 (small)", "lr=1e-3", "größer", "...", "a..b"}) {
    INFO(good);
    CHECK(name_problem(good).empty());
  }
  CHECK_THAT(name_problem(""), Contains("empty"));
  CHECK_THAT(name_problem(".."), Contains("'..' is no name"));
  CHECK_THAT(name_problem("."), Contains("'.' is no name"));
  CHECK_THAT(name_problem("a/b"), Contains("'/'"));
  CHECK_THAT(name_problem("a\nb"), Contains("'a\\x0ab'") && Contains("control characters"));
  CHECK_THAT(name_problem("a\xff"), Contains("UTF-8"));
  CHECK(name_problem(std::string(kLongestName, 'a')).empty());
  CHECK_THAT(name_problem(std::string(kLongestName + 1, 'a')),
             Contains("241 bytes, at most 240 are allowed"));
}
