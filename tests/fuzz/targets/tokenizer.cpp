// tokenizer.json: the texts of its tokens.
#include "experiments/text/tokenizer.hpp"
#include "tests/fuzz/support.hpp"

using namespace blockwise;

FUZZ_TARGET(bytes) {
  static const fuzz::InputFolder folder;
  folder.write("tokenizer.json", bytes);
  const auto tokenizer = open_tokenizer(folder.path(), 256);
  Utf8Stream stream;
  for (std::int64_t token = -1; token < 300; ++token) stream.feed(tokenizer->decode(token));
  stream.finish();
}
