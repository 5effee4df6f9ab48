// Damaged and hostile HDF5 files: an InputError each, never the end of the process. The library's
// own crashes happen in the process that looks first.
#include <hdf5.h>
#include <sys/stat.h>

#include <cstring>
#include <fstream>
#include <functional>
#include <numeric>
#include <random>

#include "core/base/error.hpp"
#include "core/io/atomic_file.hpp"
#include "core/io/hdf5_file.hpp"
#include "core/io/input_file.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/child_process.hpp"
#include "tests/support/temporary_folder.hpp"

using namespace blockwise;
using namespace blockwise::testing;
namespace fs = std::filesystem;

namespace {

// One of every kind of object that our files have.
void write_example(const fs::path& path) {
  auto file = Hdf5File::create(path);
  file.set_attribute("/", "format", "test");
  file.create_group("/rows");
  file.create_integer_column("/rows/n", "1", "counter");
  file.create_real_column("/rows/x", "1", "numbers");
  file.write_text_column("/names", {"one", "two"}, "text", "names");
  file.create_text("/yaml", "a: 1\n", 16, "a text");
  file.create_enum("/state", {"running", "finished"}, 0, "a state");
  file.write_array("/matrix", std::vector<double>(12, 0.5), {3, 4}, "1", "an array");
  file.start_swmr();
  std::vector<std::int64_t> n(2000);
  std::iota(n.begin(), n.end(), 0);
  file.append("/rows/n", n);
  file.append("/rows/x", std::vector<double>(2000, 0.25));
  file.close();
}

// Reads as a report and a resume do. True: no complaint.
bool survives(const fs::path& path) {
  try {
    const auto file = Hdf5File::open_for_reading(path);
    file.text_attribute("/", "format");
    file.integer_column("/rows/n");
    file.real_column("/rows/x");
    file.text_column("/names");
    file.text("/yaml");
    file.enum_value("/state");
    std::vector<double> matrix(12);
    file.read_array("/matrix", std::span<double>(matrix));
    Hdf5File::open_for_appending(path).start_swmr();
    return true;
  } catch (const InputError& error) {
    CHECK_THAT(error.what(), Contains(path.filename().string() + ": "));
    CHECK(std::string(error.what()).find('\n') == std::string::npos);
    return false;
  }
}

void write_bytes(const fs::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

// A file made with the library itself: `fill` gets its root.
void write_by_hand(const fs::path& path, const std::function<void(hid_t)>& fill) {
  const auto file = H5Fcreate(path.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
  REQUIRE(file >= 0);
  fill(file);
  H5Fclose(file);
}

void make_group(hid_t at, const char* name) {
  H5Gclose(H5Gcreate2(at, name, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
}

std::string error_of_reading(const fs::path& path) {
  try {
    Hdf5File::open_for_reading(path);
    return "none";
  } catch (const InputError& error) {
    return error.what();
  }
}

}  // namespace

TEST_CASE("HDF5 damage: a file that is cut anywhere is refused or whole") {
  const TemporaryFolder folder;
  write_example(folder / "whole.h5");
  REQUIRE(survives(folder / "whole.h5"));
  const auto bytes = read_text_file(folder / "whole.h5");
  for (std::size_t length = 1; length < bytes.size(); length += bytes.size() / 60) {
    INFO("cut to " << length << " of " << bytes.size());
    write_bytes(folder / "cut.h5", bytes.substr(0, length));
    CHECK(!survives(folder / "cut.h5"));
    CHECK(!fs::exists(folder / "cut.h5.partial"));
  }
}

TEST_CASE("HDF5 damage: changed bytes end in a sentence or not at all") {
  const TemporaryFolder folder;
  write_example(folder / "whole.h5");
  const auto bytes = read_text_file(folder / "whole.h5");
  std::mt19937 random(7);
  const auto below = [&](std::size_t bound) { return random() % bound; };
  int refused = 0;
  for (int i = 0; i < 60; ++i) {
    auto damaged = bytes;
    // Metadata is in the first kilobytes; elsewhere a byte is only another number.
    for (std::size_t k = 1 + below(4); k > 0; --k) {
      damaged[below(12'000)] = static_cast<char>(below(256));
    }
    write_bytes(folder / "damaged.h5", damaged);
    if (!survives(folder / "damaged.h5")) ++refused;
  }
  CHECK(refused > 10);
}

TEST_CASE("HDF5 damage: a group inside itself is refused at once") {
  const TemporaryFolder folder;
  const auto path = folder / "a.h5";
  SECTION("its own child") {
    write_by_hand(path, [](hid_t root) {
      make_group(root, "a");
      H5Lcreate_hard(root, "a", root, "a/again", H5P_DEFAULT, H5P_DEFAULT);
    });
    CHECK_THAT(error_of_reading(path), Contains("a.h5: /a/again: the group is inside itself"));
  }
  SECTION("the root further down, by name") {
    write_by_hand(path, [](hid_t root) {
      make_group(root, "a");
      make_group(root, "a/b");
      H5Lcreate_soft("/a", root, "a/b/up", H5P_DEFAULT, H5P_DEFAULT);
    });
    CHECK_THAT(error_of_reading(path), Contains("/a/b/up: the group is inside itself"));
  }
  CHECK_THROWS_WITH(Hdf5File::open_for_appending(path), Contains("inside itself"));
}

TEST_CASE("HDF5 damage: what is reached over two paths is no cycle") {
  const TemporaryFolder folder;
  // 2^30 paths lead to the last group.
  write_by_hand(folder / "a.h5", [](hid_t root) {
    std::string at = "/g";
    make_group(root, "/g");
    for (int i = 0; i < 30; ++i) {
      make_group(root, (at + "/g").c_str());
      H5Lcreate_hard(root, (at + "/g").c_str(), root, (at + "/h").c_str(), H5P_DEFAULT,
                     H5P_DEFAULT);
      at += "/g";
    }
  });
  CHECK(error_of_reading(folder / "a.h5") == "none");
}

TEST_CASE("HDF5 damage: depth, links that lead nowhere and foreign objects") {
  const TemporaryFolder folder;
  write_by_hand(folder / "deep.h5", [](hid_t root) {
    std::string at;
    for (int i = 0; i < 100; ++i) make_group(root, (at += "/g").c_str());
  });
  CHECK_THAT(error_of_reading(folder / "deep.h5"), Contains("nested deeper than 32"));
  write_by_hand(folder / "links.h5", [](hid_t root) {
    H5Lcreate_soft("/none", root, "soft", H5P_DEFAULT, H5P_DEFAULT);
    H5Lcreate_external("none.h5", "/", root, "external", H5P_DEFAULT, H5P_DEFAULT);
  });
  CHECK(error_of_reading(folder / "links.h5") == "none");
}

// What a version before wrote, and what h5py gives as bytes.
void put_fixed_text(hid_t root, const char* name, std::string text) {
  const hid_t type = H5Tcopy(H5T_C_S1), scalar = H5Screate(H5S_SCALAR);
  H5Tset_size(type, text.size());
  H5Tset_strpad(type, H5T_STR_NULLPAD);
  H5Tset_cset(type, H5T_CSET_UTF8);
  const hid_t attribute = H5Acreate2(root, name, type, scalar, H5P_DEFAULT, H5P_DEFAULT);
  H5Awrite(attribute, type, text.data());
  H5Aclose(attribute);
  H5Sclose(scalar);
  H5Tclose(type);
}

bool has_variable_text(const fs::path& path, const char* object, const char* name) {
  const hid_t file = H5Fopen(path.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT);
  const hid_t attribute = H5Aopen_by_name(file, object, name, H5P_DEFAULT, H5P_DEFAULT);
  const hid_t type = H5Aget_type(attribute);
  const bool variable = H5Tis_variable_str(type) > 0 && H5Tget_cset(type) == H5T_CSET_UTF8;
  H5Tclose(type);
  H5Aclose(attribute);
  H5Fclose(file);
  return variable;
}

TEST_CASE("HDF5: text attributes are what h5py gives as str, and those of before are read") {
  const TemporaryFolder folder;
  write_example(folder / "new.h5");
  CHECK(has_variable_text(folder / "new.h5", "/", "format"));
  CHECK(has_variable_text(folder / "new.h5", "/rows/n", "description"));
  write_by_hand(folder / "old.h5", [](hid_t root) { put_fixed_text(root, "format", "tëst"); });
  for (const auto* name : {"old.h5", "new.h5"}) {
    INFO(name);
    const std::string text = std::string(name) == "old.h5" ? "tëst" : "test";
    CHECK(Hdf5File::open_for_reading(folder / name).text_attribute("/", "format") == text);
    Hdf5File::open_for_appending(folder / name).close();
    CHECK(Hdf5File::open_for_reading(folder / name).text_attribute("/", "format") == text);
  }
}

TEST_CASE("HDF5 damage: a size that the file does not hold is refused before it is allocated") {
  const TemporaryFolder folder;
  const auto path = folder / "a.h5";
  SECTION("a column of 2^50 rows without values") {
    write_by_hand(path, [](hid_t root) {
      const hsize_t rows = 1ULL << 50, unlimited = H5S_UNLIMITED, chunk = 1024;
      const auto space = H5Screate_simple(1, &rows, &unlimited);
      const auto properties = H5Pcreate(H5P_DATASET_CREATE);
      H5Pset_chunk(properties, 1, &chunk);
      H5Dclose(H5Dcreate2(root, "n", H5T_STD_I64LE, space, H5P_DEFAULT, properties, H5P_DEFAULT));
      H5Pclose(properties);
      H5Sclose(space);
    });
    CHECK_THAT(error_of_reading(path), Contains("a.h5: /n: cannot be read"));
  }
  SECTION("an array of 2^40 values that was never written") {
    write_by_hand(path, [](hid_t root) {
      const hsize_t size = 1ULL << 40;
      const auto space = H5Screate_simple(1, &size, nullptr);
      H5Dclose(H5Dcreate2(root, "n", H5T_STD_I64LE, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
      H5Sclose(space);
    });
    CHECK_THAT(error_of_reading(path), Contains("0 bytes are stored, its size is"));
  }
  SECTION("values in another file") {
    write_by_hand(path, [&](hid_t root) {
      const hsize_t size = 4;
      const auto space = H5Screate_simple(1, &size, nullptr);
      const auto properties = H5Pcreate(H5P_DATASET_CREATE);
      H5Pset_external(properties, (folder / "victim").c_str(), 0, 32);
      H5Dclose(H5Dcreate2(root, "n", H5T_STD_I64LE, space, H5P_DEFAULT, properties, H5P_DEFAULT));
      H5Pclose(properties);
      H5Sclose(space);
    });
    CHECK_THAT(error_of_reading(path), Contains("a.h5: /n: cannot be read"));
  }
}

TEST_CASE("HDF5 damage: pipes, folders and devices are no files") {
  const TemporaryFolder folder;
  REQUIRE(::mkfifo((folder / "pipe.h5").c_str(), 0600) == 0);
  fs::create_directories(folder / "folder.h5");
  CHECK_THAT(error_of_reading(folder / "pipe.h5"), Contains("pipe.h5: is a pipe"));
  CHECK_THAT(error_of_reading(folder / "folder.h5"), Contains("folder.h5: is a folder"));
  CHECK_THAT(error_of_reading("/dev/zero"), Contains("/dev/zero: is a device"));
  CHECK(!Hdf5File::is_hdf5(folder / "pipe.h5"));
}

TEST_CASE("HDF5: a file that disappears while it is written is noticed") {
  const TemporaryFolder folder;
  const auto path = folder / "run/a.h5";
  fs::create_directories(path.parent_path());
  auto file = Hdf5File::create(path);
  file.create_integer_column("/n", "1", "counter");
  file.start_swmr();
  file.append("/n", std::vector<std::int64_t>(5000, 1));
  file.flush();
  const std::string what =
      GENERATE("deleted", "replaced", "moved", "folder moved", "folder deleted", "cut off");
  INFO(what);
  if (what == "deleted" || what == "replaced") fs::remove(path);
  if (what == "replaced") write_file_atomically(path, "another");
  if (what == "moved") fs::rename(path, folder / "b.h5");
  if (what == "folder moved") fs::rename(path.parent_path(), folder / "moved");
  if (what == "folder deleted") fs::remove_all(path.parent_path());
  if (what == "cut off") fs::resize_file(path, 3000);
  CHECK_THROWS_AS(file.flush(), FileLostError);
  CHECK_THROWS_AS(file.close(), std::runtime_error);
}

TEST_CASE("HDF5: a file that is moved away before it is complete is noticed") {
  const TemporaryFolder folder;
  auto file = Hdf5File::create(folder / "a.h5");
  file.create_integer("/n", 1, "1", "a number");
  fs::remove(folder / "a.h5.partial");
  CHECK_THROWS_AS(file.close(), FileLostError);
  CHECK(fs::is_empty(folder.path()));
}
