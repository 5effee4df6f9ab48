// HDF5 through its C API: hdf5.h is included by the files core/io/hdf5_*.cpp and by no other.
//
// Writers create every group, dataset and attribute first and then call start_swmr(): from then on
// readers (h5py with swmr=True) may follow the file, and a killed writer loses nothing that was
// flushed. Text attributes are UTF-8 of variable length, which h5py gives as str, and are written
// before start_swmr(); datasets have no variable-length types, which a live writer may not use
// (h5py: dataset.asstr()). Library version bounds v110. HDF5's own error printing is off;
// errors are std::runtime_error (writing) or InputError (a file that cannot be read) with the
// file's name, the object and HDF5's innermost message.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace blockwise {

// The file that is written is no longer under its name, or shorter than it was: somebody else
// deleted, moved, replaced or cut it. Nothing that was written is certain to be kept.
class FileLostError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

class Hdf5File {
 public:
  // A new file; an old one under the name is an error (InputError).
  static Hdf5File create(const std::filesystem::path& path);
  // Reading; a live or killed writer's file too (swmr read), as it is at this moment. HDF5 crashes
  // or hangs on some damaged files, so every file is first read by a process that may die
  // (core/io/trial_process.hpp), without exception: a mark that a file was closed well says nothing
  // about what became of it since. Cost: a fork, and reading everything but plain arrays twice; 4
  // ms for a run's file. InputError for a file that it does not survive, that is truncated or
  // damaged anywhere, or with a group inside itself.
  static Hdf5File open_for_reading(const std::filesystem::path& path);
  // Continues a file, also a killed writer's: into a copy that takes the file's name in
  // start_swmr() or close(). The copy is made by a process that may die, as for reading. (Writing
  // on in a killed writer's file, as `h5clear -s` allows, can overwrite its newest rows: the end of
  // the used space is the last thing that HDF5 notes in a flush.)
  static Hdf5File open_for_appending(const std::filesystem::path& path);
  // True for an existing file that starts with HDF5's signature.
  static bool is_hdf5(const std::filesystem::path& path);

  Hdf5File(Hdf5File&&) noexcept;
  Hdf5File& operator=(Hdf5File&&) noexcept;
  ~Hdf5File();  // closes; errors at this point are lost, so call flush() or close() before

  void create_group(const std::string& path);
  // Replaces one of the same name.
  void set_attribute(const std::string& object, const std::string& name, std::string_view text);
  void set_attribute(const std::string& object, const std::string& name, std::int64_t value);
  std::string text_attribute(const std::string& object, const std::string& name) const;
  std::int64_t integer_attribute(const std::string& object, const std::string& name) const;
  bool has(const std::string& path) const;
  // Takes an object out of its group; its space in the file stays. Before start_swmr().
  void remove(const std::string& path);

  // One-dimensional, extendible, chunked (1024 rows), empty at first.
  void create_real_column(const std::string& path, std::string_view units, std::string_view doc);
  void create_integer_column(const std::string& path, std::string_view units, std::string_view doc);
  // A column with `width` numbers in each row; append() and real_column() take and give them row by
  // row.
  void create_real_rows(const std::string& path, std::int64_t width, std::string_view units,
                        std::string_view doc);
  void append(const std::string& path, std::span<const double> values);
  void append(const std::string& path, std::span<const std::int64_t> values);
  std::vector<double> real_column(const std::string& path) const;
  std::vector<std::int64_t> integer_column(const std::string& path) const;
  std::int64_t rows(const std::string& path) const;
  // Before start_swmr(): a live reader must never see rows go.
  void truncate(const std::string& path, std::int64_t rows);

  // Fixed content: columns of fixed-length strings, and scalars that may be overwritten at any time
  // (also after start_swmr). Text is padded with zeros to `capacity` bytes, longer text is cut at a
  // UTF-8 boundary.
  void write_text_column(const std::string& path, const std::vector<std::string>& values,
                         std::string_view units, std::string_view doc);
  std::vector<std::string> text_column(const std::string& path) const;
  void create_text(const std::string& path, std::string_view text, std::size_t capacity,
                   std::string_view doc);
  void write_text(const std::string& path, std::string_view text);
  std::string text(const std::string& path) const;
  void create_integer(const std::string& path, std::int64_t value, std::string_view units,
                      std::string_view doc);
  void write_integer(const std::string& path, std::int64_t value);
  std::int64_t integer(const std::string& path) const;
  // A scalar int8 of an HDF5 enum type with the given names (values 0, 1, 2, ...).
  void create_enum(const std::string& path, const std::vector<std::string>& names,
                   std::int64_t value, std::string_view doc);
  void write_enum(const std::string& path, std::int64_t value);
  std::int64_t enum_value(const std::string& path) const;
  // Whole arrays of any shape, row-major, of float32 or float64.
  void write_array(const std::string& path, std::span<const float> values,
                   const std::vector<std::int64_t>& shape, std::string_view units,
                   std::string_view doc);
  void write_array(const std::string& path, std::span<const double> values,
                   const std::vector<std::int64_t>& shape, std::string_view units,
                   std::string_view doc);
  // New values for an array that is there, at any time.
  void overwrite_array(const std::string& path, std::span<const double> values);
  std::vector<std::int64_t> array_shape(const std::string& path) const;
  // Throws InputError where the array has another number of elements or another type.
  void read_array(const std::string& path, std::span<float> values) const;
  void read_array(const std::string& path, std::span<double> values) const;
  void create_external_link(const std::string& path, const std::string& file,
                            const std::string& object);
  std::vector<std::string> children(const std::string& group) const;  // names, sorted

  void start_swmr();
  // Both throw FileLostError where the file is no longer in its place. What they return from has
  // reached the operating system, after close() the disk.
  void flush();
  void close();

 private:
  struct Handle;
  explicit Hdf5File(std::unique_ptr<Handle> handle);
  std::unique_ptr<Handle> handle_;
};

// "1.10.8"
std::string hdf5_version();

}  // namespace blockwise
