#include "core/io/growing_file.hpp"

#include <fstream>

#include "tests/support/catch.hpp"
#include "tests/support/temporary_folder.hpp"

namespace blockwise {
namespace {

void append(const std::filesystem::path& path) { std::ofstream(path, std::ios::app) << 'x'; }

TEST_CASE("A file that grows while it is read is read again, a damaged one is not") {
  const testing::TemporaryFolder folder;
  const auto path = folder / "a";
  append(path);
  int calls = 0;
  const auto value = read_growing_file(path, [&] {
    if (++calls > 3) return 7;
    append(path);  // the writer goes on
    throw InputError("half of it");
  });
  CHECK(value == 7);
  CHECK(calls == 4);
  calls = 0;
  CHECK_THROWS_AS(read_growing_file(path,
                                    [&]() -> int {
                                      ++calls;
                                      throw InputError("damaged");
                                    }),
                  InputError);
  CHECK(calls == 1);
}

}  // namespace
}  // namespace blockwise
