#include <algorithm>
#include <chrono>
#include <numeric>
#include <thread>

#include "core/base/error.hpp"
#include "core/io/atomic_file.hpp"
#include "core/io/folder_lock.hpp"
#include "core/io/hdf5_file.hpp"
#include "core/io/input_file.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/child_process.hpp"
#include "tests/support/temporary_folder.hpp"

using namespace blockwise;
using namespace blockwise::testing;
namespace fs = std::filesystem;

namespace {

std::vector<std::int64_t> counted(std::int64_t from, std::int64_t count) {
  std::vector<std::int64_t> values(static_cast<std::size_t>(count));
  std::iota(values.begin(), values.end(), from);
  return values;
}

std::vector<double> halves(const std::vector<std::int64_t>& values) {
  std::vector<double> result;
  for (const auto value : values) result.push_back(static_cast<double>(value) / 2);
  return result;
}

// A file with two columns and a scalar, as a run's writer makes it.
Hdf5File start_columns(const fs::path& path) {
  auto file = Hdf5File::create(path);
  file.set_attribute("/", "format", "test");
  file.create_group("/rows");
  file.create_integer_column("/rows/n", "1", "counter");
  file.create_real_column("/rows/half", "1", "half of it");
  file.create_integer("/last", 0, "1", "last n");
  file.start_swmr();
  return file;
}

void append_rows(Hdf5File& file, std::int64_t from, std::int64_t count) {
  const auto values = counted(from, count);
  file.append("/rows/n", values);
  file.append("/rows/half", halves(values));
  file.write_integer("/last", from + count);
  file.flush();
}

// Checks that both columns count from 0; returns how many rows both have.
std::int64_t check_counting(const Hdf5File& file) {
  const auto n = file.integer_column("/rows/n");
  const auto half = file.real_column("/rows/half");
  CHECK(n == counted(0, static_cast<std::int64_t>(n.size())));
  CHECK(half == halves(counted(0, static_cast<std::int64_t>(half.size()))));
  return static_cast<std::int64_t>(std::min(n.size(), half.size()));
}

}  // namespace

TEST_CASE("HDF5: everything comes back from a closed file") {
  const TemporaryFolder folder;
  const auto path = folder / "a.h5";
  auto file = Hdf5File::create(path);
  file.create_group("/g");
  file.create_group("/g/h");
  file.set_attribute("/", "text", "old");
  file.set_attribute("/", "text", "größer");
  file.set_attribute("/g", "number", std::int64_t{-5});
  file.set_attribute("/g", "empty", "");
  file.create_real_column("/g/real", "nats", "a column");
  file.append("/g/real", std::vector<double>{1.5, -0.0, 1e300});
  file.append("/g/real", std::vector<double>{});
  file.append("/g/real", std::vector<double>(3000, 0.25));
  file.create_integer_column("/g/integer", "tokens", "another");
  file.append("/g/integer", std::vector<std::int64_t>{INT64_MAX, INT64_MIN});
  file.write_text_column("/g/names", {"query", "", "clé"}, "text", "names");
  file.create_text("/g/yaml", "a: 1\n", 16, "a text");
  file.create_integer("/g/h/bytes", 1, "bytes", "a scalar");
  file.write_integer("/g/h/bytes", 1LL << 40);
  file.create_enum("/state", {"running", "finished"}, 0, "a state");
  file.write_enum("/state", 1);
  CHECK(!fs::exists(path));
  file.close();
  CHECK(!fs::exists(folder / "a.h5.partial"));

  const auto read = Hdf5File::open_for_reading(path);
  CHECK(read.text_attribute("/", "text") == "größer");
  CHECK(read.text_attribute("/g", "empty") == "");
  CHECK(read.integer_attribute("/g", "number") == -5);
  CHECK(read.text_attribute("/g/real", "units") == "nats");
  CHECK(read.text_attribute("/g/real", "description") == "a column");
  CHECK(read.rows("/g/real") == 3003);
  const auto real = read.real_column("/g/real");
  CHECK((real[0] == 1.5 && std::signbit(real[1]) && real[2] == 1e300 && real[3002] == 0.25));
  CHECK(read.integer_column("/g/integer") == std::vector<std::int64_t>{INT64_MAX, INT64_MIN});
  CHECK(read.text_column("/g/names") == std::vector<std::string>{"query", "", "clé"});
  CHECK(read.text("/g/yaml") == "a: 1\n");
  CHECK(read.integer("/g/h/bytes") == 1LL << 40);
  CHECK(read.enum_value("/state") == 1);
  CHECK(read.children("/") == std::vector<std::string>{"g", "state"});
  CHECK(read.has("/g/h/bytes"));
  CHECK(read.has("/"));
  CHECK(!read.has("/g/x/bytes"));
  CHECK(!read.has("/g/h/bites"));
}

TEST_CASE("HDF5: rows of several numbers grow, are cut and go on in a continued file") {
  const TemporaryFolder folder;
  const auto path = folder / "a.h5";
  auto file = Hdf5File::create(path);
  file.create_real_rows("/wide", 3, "1", "rows of three");
  file.start_swmr();
  std::vector<double> values(3 * 700);  // more than a piece
  std::iota(values.begin(), values.end(), 0.0);
  file.append("/wide", std::span<const double>(values).first(6));
  file.append("/wide", std::span<const double>(values).subspan(6));
  CHECK_THROWS_AS(file.append("/wide", std::vector<double>{1, 2}), InvariantError);
  file.close();
  CHECK(Hdf5File::open_for_reading(path).rows("/wide") == 700);
  CHECK(Hdf5File::open_for_reading(path).real_column("/wide") == values);
  auto more = Hdf5File::open_for_appending(path);
  more.truncate("/wide", 2);
  more.append("/wide", std::vector<double>{7, 8, 9});
  more.start_swmr();
  more.close();
  const auto read = Hdf5File::open_for_reading(path);
  CHECK(read.array_shape("/wide") == std::vector<std::int64_t>{3, 3});
  CHECK(read.real_column("/wide") == std::vector<double>{0, 1, 2, 3, 4, 5, 7, 8, 9});
}

TEST_CASE("HDF5: text is cut where a character starts") {
  const TemporaryFolder folder;
  auto file = Hdf5File::create(folder / "a.h5");
  file.create_text("/t", "", 5, "five bytes");
  const auto stored = [&](const std::string& text) {
    file.write_text("/t", text);
    return file.text("/t");
  };
  CHECK(stored("12345") == "12345");
  CHECK(stored("123456") == "12345");
  CHECK(stored("1234ü") == "1234");       // its second byte would not fit
  CHECK(stored("123ü") == "123ü");        // both do
  CHECK(stored("12\U0001F600") == "12");  // four bytes, three fit
  CHECK(stored("1\U0001F600") == "1\U0001F600");
  CHECK(stored("") == "");
}

TEST_CASE("HDF5: another process reads rows while the writer is open") {
  const TemporaryFolder folder;
  const auto path = folder / "a.h5";
  auto file = start_columns(path);
  for (std::int64_t from = 0; from < 5000; from += 1250) {
    append_rows(file, from, 1250);
    ChildProcess reader([&](const auto& say) {
      const auto live = Hdf5File::open_for_reading(path);
      say(std::to_string(check_counting(live)) + " " + std::to_string(live.integer("/last")));
    });
    const auto expected = std::to_string(from + 1250);
    CHECK(reader.wait().text == expected + " " + expected);
  }
}

TEST_CASE("HDF5: kill -9 loses nothing that was flushed, and the file can be continued") {
  const TemporaryFolder folder;
  const auto path = folder / "a.h5";
  std::int64_t kept = 0;
  for (int round = 0; round < 12; ++round) {
    ChildProcess writer([&](const auto& say) {
      auto file = round == 0 ? start_columns(path) : Hdf5File::open_for_appending(path);
      auto next = std::min(file.rows("/rows/n"), file.rows("/rows/half"));
      if (round > 0) {
        file.truncate("/rows/n", next);
        file.truncate("/rows/half", next);
        file.start_swmr();
      }
      for (;; next += 97) {
        append_rows(file, next, 97);
        say("f");
      }
    });
    std::int64_t heard = 0;
    while (heard < 3 + 7 * round && writer.hear() == 'f') ++heard;
    ::usleep(static_cast<useconds_t>(137 * round));
    writer.kill();
    while (writer.hear() == 'f') ++heard;
    const auto rows = check_counting(Hdf5File::open_for_reading(path));
    CHECK(rows >= kept + 97 * heard);
    kept = rows;
  }
  auto file = Hdf5File::open_for_appending(path);
  file.truncate("/rows/n", 10);
  file.truncate("/rows/half", 10);
  file.start_swmr();
  append_rows(file, 10, 5);
  file.close();
  const auto read = Hdf5File::open_for_reading(path);
  CHECK(check_counting(read) == 15);
  CHECK(read.text_attribute("/", "format") == "test");
  CHECK(read.text_attribute("/rows/n", "description") == "counter");
}

TEST_CASE("HDF5: killed before it is complete, a new file is not there and an old one stays") {
  const TemporaryFolder folder;
  const auto path = folder / "a.h5";
  start_columns(path).close();
  const auto before = read_text_file(path);
  for (const auto& name : {"a.h5", "b.h5"}) {
    ChildProcess writer([&](const auto& say) {
      auto file = fs::exists(folder / name) ? Hdf5File::open_for_appending(folder / name)
                                            : Hdf5File::create(folder / name);
      file.create_group("/more");
      file.flush();
      say("f");
      ::pause();
    });
    CHECK(writer.hear() == 'f');
    writer.kill();
  }
  CHECK(read_text_file(path) == before);
  CHECK(!fs::exists(folder / "b.h5"));
  start_columns(folder / "b.h5").close();
  CHECK(Hdf5File::open_for_reading(folder / "b.h5").rows("/rows/n") == 0);
}

TEST_CASE("HDF5: a truncated file is an error, not zeros") {
  const TemporaryFolder folder;
  const auto path = folder / "a.h5";
  const bool killed = GENERATE(false, true);
  ChildProcess writer([&](const auto& say) {
    auto file = start_columns(path);
    append_rows(file, 0, 3000);
    if (!killed) file.close();
    say("f");
    ::pause();
  });
  REQUIRE(writer.hear() == 'f');
  writer.kill();
  const auto size = fs::file_size(path);
  REQUIRE(check_counting(Hdf5File::open_for_reading(path)) == 3000);
  for (std::uintmax_t cut :
       {size - 9000, size / 2, size / 4, std::uintmax_t{600}, std::uintmax_t{20}}) {
    INFO("cut to " << cut << " of " << size << ", killed " << killed);
    fs::resize_file(path, cut);
    CHECK_THROWS_AS(check_counting(Hdf5File::open_for_reading(path)), InputError);
    CHECK_THROWS_AS(Hdf5File::open_for_appending(path), InputError);
    CHECK(fs::file_size(path) == cut);
    CHECK(!fs::exists(folder / "a.h5.partial"));
  }
}

TEST_CASE("HDF5: what is no HDF5 file, is not there or is there already, is said so") {
  const TemporaryFolder folder;
  write_file_atomically(folder / "a.h5", "hello, this is not HDF5");
  write_file_atomically(folder / "empty.h5", "");
  CHECK_THROWS_WITH(Hdf5File::open_for_reading(folder / "a.h5"),
                    Contains("a.h5: not an HDF5 file"));
  CHECK_THROWS_WITH(Hdf5File::open_for_appending(folder / "empty.h5"), Contains("not an HDF5"));
  CHECK_THROWS_WITH(Hdf5File::open_for_reading(folder / "b.h5"), Contains("no such file"));
  CHECK_THROWS_AS(Hdf5File::create(folder / "a.h5"), InputError);
  CHECK_THROWS_WITH(Hdf5File::create(folder / "no/folder/a.h5"),
                    Contains("No such file or directory"));
  CHECK(!Hdf5File::is_hdf5(folder / "a.h5"));
  CHECK(!Hdf5File::is_hdf5(folder / "b.h5"));
  CHECK(!Hdf5File::is_hdf5(folder.path()));
}

TEST_CASE("HDF5: a wrong object or type is named with HDF5's reason") {
  const TemporaryFolder folder;
  auto file = start_columns(folder / "a.h5");
  file.close();
  const auto read = Hdf5File::open_for_reading(folder / "a.h5");
  CHECK_THROWS_WITH(read.real_column("/rows/none"),
                    Contains("a.h5: /rows/none: cannot be read: ") && Contains("doesn't exist"));
  CHECK_THROWS_AS(read.text("/last"), InputError);
  CHECK_THROWS_AS(read.text("/rows"), InputError);
  CHECK_THROWS_AS(read.integer("/rows/n"), InputError);
  CHECK_THROWS_AS(read.text_attribute("/", "none"), InputError);
  CHECK_THROWS_AS(read.integer_attribute("/", "format"), InputError);
  CHECK_THROWS_AS(read.children("/none"), InputError);
}

TEST_CASE("HDF5: a full disk is an error with its reason and keeps what was flushed") {
  const TemporaryFolder folder;
  const auto path = folder / "a.h5";
  const auto limit = static_cast<rlim_t>(GENERATE(30'000, 41'000, 50'000, 65'537, 100'000));
  ChildProcess writer([&](const auto& say) {
    auto file = start_columns(path);
    limit_file_size(limit);
    for (std::int64_t next = 0; next < 100'000; next += 64) {
      append_rows(file, next, 64);
      say("f");
    }
  });
  const auto result = writer.wait();
  CHECK(result.exit_code == 1);
  CHECK_THAT(result.text, Contains("a.h5: ") && Contains("cannot be written: File too large"));
  const auto flushes = static_cast<std::int64_t>(result.text.find_first_not_of('f'));
  CHECK(check_counting(Hdf5File::open_for_reading(path)) >= 64 * flushes);
  auto file = Hdf5File::open_for_appending(path);
  file.truncate("/rows/n", 64 * flushes);
  file.truncate("/rows/half", 64 * flushes);
  file.start_swmr();
  append_rows(file, 64 * flushes, 5);
  file.close();
  CHECK(check_counting(Hdf5File::open_for_reading(path)) == 64 * flushes + 5);
}

TEST_CASE("HDF5: a disk that is full from the start leaves nothing behind") {
  const TemporaryFolder folder;
  ChildProcess writer([&](const auto&) {
    limit_file_size(1000);
    start_columns(folder / "a.h5");
  });
  const auto result = writer.wait();
  CHECK(result.exit_code == 1);
  CHECK_THAT(result.text, Contains("a.h5: /last: cannot be written: File too large"));
  CHECK(fs::is_empty(folder.path()));
}

TEST_CASE("HDF5: an external link leads to the other file") {
  const TemporaryFolder folder;
  start_columns(folder / "run.h5").close();
  auto index = Hdf5File::create(folder / "index.h5");
  index.create_group("/members");
  index.create_external_link("/members/one", "run.h5", "/");
  index.close();
  CHECK(Hdf5File::open_for_reading(folder / "index.h5").rows("/members/one/rows/n") == 0);
}

TEST_CASE("HDF5: the library's version has three numbers") {
  CHECK(std::ranges::count(hdf5_version(), '.') == 2);
}

TEST_CASE("A folder has one lock, which goes with its process") {
  const TemporaryFolder folder;
  ChildProcess owner([&](const auto& say) {
    const FolderLock lock(folder.path());
    say("f");
    ::pause();
  });
  REQUIRE(owner.hear() == 'f');
  CHECK_THROWS_WITH(FolderLock(folder.path()), Contains("another process is writing"));
  owner.kill();
  const FolderLock lock(folder.path());
  CHECK_THROWS_AS(FolderLock(folder.path()), InputError);
  CHECK_THROWS_AS(FolderLock(folder / "none"), InputError);
}

// As behind a process that was killed, whose trial the system has yet to end.
TEST_CASE("A folder's lock that ends within a moment is waited for") {
  const TemporaryFolder folder;
  ChildProcess owner([&](const auto& say) {
    const FolderLock lock(folder.path());
    say("f");
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  });
  REQUIRE(owner.hear() == 'f');
  CHECK(FolderLock::is_taken(folder.path()));
  CHECK(FolderLock(folder.path()).is_held());
  CHECK_FALSE(FolderLock::is_taken(folder.path()));
}

TEST_CASE("HDF5: arrays keep shape, type and bits") {
  const TemporaryFolder folder;
  const auto path = folder / "a.h5";
  const std::vector<float> narrow = {1.0F, -0.5F, 3e-40F, 4.0F, 5.0F, 6.0F};
  const std::vector<double> wide = {0.1, 1e300};
  auto file = Hdf5File::create(path);
  file.write_array("/narrow", std::span<const float>(narrow), {2, 3}, "1", "an array");
  file.write_array("/wide", std::span<const double>(wide), {2}, "1", "another");
  CHECK_THROWS_AS(file.write_array("/x", std::span<const double>(wide), {3}, "1", "wrong"),
                  InvariantError);
  file.close();
  const auto read = Hdf5File::open_for_reading(path);
  CHECK(read.array_shape("/narrow") == std::vector<std::int64_t>{2, 3});
  std::vector<float> found(6);
  read.read_array("/narrow", std::span<float>(found));
  CHECK(found == narrow);
  std::vector<double> other(2);
  read.read_array("/wide", std::span<double>(other));
  CHECK(other == wide);
  CHECK_THROWS_WITH(read.read_array("/narrow", std::span<double>(other)), Contains("another type"));
  CHECK_THROWS_WITH(read.read_array("/wide", std::span<double>(other).first(1)),
                    Contains("2 elements, there must be 1"));
}
