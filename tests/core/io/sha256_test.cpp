#include "core/io/sha256.hpp"

#include <algorithm>
#include <fstream>
#include <vector>

#include "core/io/mapped_file.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/temporary_folder.hpp"

using namespace blockwise;
using namespace blockwise::testing;

// The examples of FIPS 180-4 (NIST's "SHA-256 examples").
TEST_CASE("SHA-256 of the standard's examples") {
  CHECK(sha256("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  CHECK(sha256("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  CHECK(sha256("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq") ==
        "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  CHECK(sha256(std::string(1'000'000, 'a')) ==
        "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST_CASE("SHA-256 of a mapped file is that of its bytes, and leaves it readable") {
  const TemporaryFolder folder;
  // Longer than a window and no whole number of pages.
  std::string text(std::size_t{64 << 20} + 12'345, '\0');
  for (std::size_t i = 0; i < text.size(); ++i) text[i] = static_cast<char>(i * i >> 7);
  std::ofstream(folder / "long.bin", std::ios::binary) << text;
  const auto mapped = map_file(folder / "long.bin");
  CHECK(sha256_of_mapped(mapped.bytes) == sha256(text));
  CHECK(std::ranges::equal(mapped.bytes, std::as_bytes(std::span(text))));
  CHECK(sha256_of_mapped({}) == sha256(std::string_view()));
}

TEST_CASE("Memory that is paged out keeps what it holds, whether it has a file or not") {
  std::vector<std::byte> values(100'000, std::byte{7});
  page_out(values);
  CHECK(std::ranges::count(values, std::byte{7}) == 100'000);
}
