// Saved states in groups of an HDF5 file: numbers are the group's attributes, arrays its datasets.
#pragma once

#include <filesystem>
#include <functional>
#include <string>

#include "core/base/saved_state.hpp"
#include "core/io/hdf5_file.hpp"

namespace blockwise {

// Makes the group. Both keep a reference to the file.
class Hdf5StateWriter : public StateWriter {
 public:
  Hdf5StateWriter(Hdf5File& file, std::string group);
  void number(const std::string& name, std::int64_t value) const override;
  void array(const std::string& name, const at::Tensor& values, const char* doc) const override;

 private:
  Hdf5File& file_;
  std::string group_;
};

class Hdf5StateReader : public StateReader {
 public:
  Hdf5StateReader(const Hdf5File& file, std::string group)
      : file_(file), group_(std::move(group)) {}
  bool has_array(const std::string& name) const override;
  std::int64_t number(const std::string& name) const override;
  std::vector<std::int64_t> shape(const std::string& name) const override;
  void read(const std::string& name, const at::Tensor& into) const override;
  std::string place() const override { return group_; }

 private:
  const Hdf5File& file_;
  std::string group_;
};

// A file that `write` fills, written beside and renamed.
void save_state(const std::filesystem::path& path, const std::function<void(Hdf5File&)>& write);
// Opens a saved state and reads it; every error starts with the file's name.
void load_state(const std::filesystem::path& path,
                const std::function<void(const Hdf5File&)>& read);

}  // namespace blockwise
