// The one way to open what somebody else wrote. A name may lead to a pipe, a device, a folder or a
// file without end; reading those hangs or fills the memory, so only a regular file is opened, and
// its size is known before the first byte is read.
#pragma once

#include <cstddef>
#include <filesystem>
#include <string>

namespace blockwise {

// A regular file, open for reading. Closes itself.
class InputFile {
 public:
  // Throws InputError "FILE: reason" where it cannot be opened or is no regular file. Does not wait
  // for a writer at the other end of a pipe.
  explicit InputFile(const std::filesystem::path& path);
  ~InputFile();
  InputFile(const InputFile&) = delete;
  InputFile& operator=(const InputFile&) = delete;

  int descriptor() const { return descriptor_; }
  std::size_t bytes() const { return bytes_; }  // when it was opened

 private:
  int descriptor_ = -1;
  std::size_t bytes_ = 0;
};

// Whether something has this name. Throws InputError "FILE: reason" where that cannot be known: a
// loop of symbolic links, a folder that may not be entered, a name that is too long.
bool input_exists(const std::filesystem::path& path);

inline constexpr std::size_t kTextLimit = std::size_t{64} << 20;

// The whole file as text. Throws InputError naming it where it is no regular file, cannot be read,
// is above `limit` bytes, or shrinks while it is read.
std::string read_text_file(const std::filesystem::path& path, std::size_t limit = kTextLimit);

}  // namespace blockwise
