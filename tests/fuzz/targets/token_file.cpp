// A token file, as one with a header and as a bare one.
#include <vector>

#include "core/data/token_file.hpp"
#include "tests/fuzz/support.hpp"

using namespace blockwise;

FUZZ_TARGET(bytes) {
  static const fuzz::InputFolder folder;
  const auto path = folder.write("train.bin", bytes);
  for (const auto layout : {TokenLayout::llmc, TokenLayout::raw_uint16, TokenLayout::raw_uint32}) {
    fuzz::accepts([&] {
      const TokenFile file(path, layout);
      std::vector<std::int64_t> tokens(static_cast<std::size_t>(file.size()));
      file.copy(0, file.size(), tokens.data());
      file.check_vocabulary(256);
    });
  }
}
