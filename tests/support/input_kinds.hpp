// Names that lead to no plain file, or to one without end: what every reader must refuse at once.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <stdexcept>
#include <string>
#include <vector>

#include "tests/support/temporary_folder.hpp"

namespace blockwise::testing {

struct InputKind {
  std::string name;
  std::filesystem::path path;
};

class InputKinds {
 public:
  static constexpr off_t kSparseBytes = off_t{1} << 42;  // 4 TiB that take no room

  // All names end in `ending`, for readers that go by it.
  explicit InputKinds(const std::string& ending) {
    const auto name = [&](const std::string& kind) { return folder_ / (kind + ending); };
    add("missing", name("missing"));
    std::filesystem::create_directory(name("folder"));
    add("folder", name("folder"));
    require(::mkfifo(name("pipe").c_str(), 0600), "mkfifo");
    add("pipe", name("pipe"));
    std::filesystem::create_symlink("/dev/zero", name("device"));
    add("device", name("device"));
    std::filesystem::create_symlink(name("loop"), name("loop"));
    add("loop of links", name("loop"));
    add_unreadable(name("unreadable"));
    add_sparse(name("sparse"));
  }

  const std::vector<InputKind>& all() const { return kinds_; }

 private:
  void add(const std::string& name, const std::filesystem::path& path) {
    kinds_.push_back({name, path});
  }
  static void require(int result, const char* what) {
    if (result != 0) throw std::runtime_error(std::string(what) + " failed");
  }
  static void create(const std::filesystem::path& path, mode_t mode) {
    const int file = ::open(path.c_str(), O_CREAT | O_WRONLY, mode);
    require(file < 0, "open");
    ::close(file);
  }

  // The superuser reads everything.
  void add_unreadable(const std::filesystem::path& path) {
    create(path, 0000);
    if (::geteuid() != 0) add("unreadable", path);
  }

  // Not every file system has such files.
  void add_sparse(const std::filesystem::path& path) {
    create(path, 0600);
    if (::truncate(path.c_str(), kSparseBytes) == 0) add("sparse", path);
  }

  TemporaryFolder folder_;
  std::vector<InputKind> kinds_;
};

}  // namespace blockwise::testing
