#include "core/io/hdf5_file.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <utility>

#include "core/base/checked_math.hpp"
#include "core/base/error.hpp"
#include "core/io/atomic_file.hpp"
#include "core/io/hdf5_check.hpp"
#include "core/io/hdf5_handles.hpp"
#include "core/io/input_file.hpp"
#include "core/io/partial_file.hpp"
#include "core/io/trial_process.hpp"

namespace blockwise {
namespace {

namespace fs = std::filesystem;
constexpr hsize_t kChunkRows = 1024;
constexpr std::string_view kSignature = "\x89HDF\r\n\x1a\n";

TypeId text_type(std::size_t capacity) {
  TypeId type(H5Tcopy(H5T_C_S1));
  H5Tset_size(type, std::max<std::size_t>(1, capacity));
  H5Tset_strpad(type, H5T_STR_NULLPAD);
  H5Tset_cset(type, H5T_CSET_UTF8);
  return type;
}

TypeId variable_text_type() {
  TypeId type(H5Tcopy(H5T_C_S1));
  H5Tset_size(type, H5T_VARIABLE);
  H5Tset_cset(type, H5T_CSET_UTF8);
  return type;
}

// Exactly `capacity` bytes: padded with zeros, or cut where a UTF-8 character starts.
std::string fitted(std::string_view text, std::size_t capacity) {
  if (text.size() > capacity) {
    const auto continues = [](char c) { return (static_cast<unsigned char>(c) & 0xC0) == 0x80; };
    auto length = capacity;
    while (length > 0 && continues(text[length])) --length;
    text = text.substr(0, length);
  }
  std::string result(text);
  result.resize(std::max<std::size_t>(1, capacity), '\0');
  return result;
}

std::string unpadded(std::string_view text) { return std::string(text.substr(0, text.find('\0'))); }

}  // namespace

struct Hdf5File::Handle {
  Handle(fs::path file_path, bool for_writing) : path(std::move(file_path)), writing(for_writing) {
    initialize_hdf5();
  }
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;
  ~Handle();

  static std::unique_ptr<Handle> create(const fs::path& path);
  static std::unique_ptr<Handle> open(const fs::path& path);
  static void copy_to_partial(const fs::path& path);
  static std::unique_ptr<Handle> open_partial(const fs::path& path);
  void publish();
  void flush();
  void close_columns();
  void close_file();
  struct stat status() const;
  void require_in_place();
  void require_unbroken() const;

  std::string place(const std::string& object) const { return path.string() + ": " + object; }
  hid_t written(hid_t result, const std::string& object);
  hid_t readable(hid_t result, const std::string& object) const;

  void put_attribute(const std::string& object, const std::string& name, hid_t type,
                     const void* value);
  void put_attribute(const std::string& object, const std::string& name, hid_t type, hid_t space,
                     const void* values);
  void put_text_attribute(const std::string& object, const std::string& name,
                          std::string_view text);
  std::string attribute_text(hid_t attribute, const std::string& what) const;
  // What every data set is made with.
  struct Label {
    const std::string& path;
    std::string_view units, doc;
  };
  DatasetId create_dataset(const Label& label, hid_t type, hid_t space, hid_t properties);
  // `row`: the extents of one row, none for a plain column.
  void create_column(const Label& label, hid_t type, std::span<const hsize_t> row);
  void create_filled(const Label& label, hid_t type, hid_t space, const void* values);
  void append(const std::string& path, hid_t type, const void* values, hsize_t count);
  void write_array(const Label& label, hid_t type, const void* values, std::size_t count,
                   const std::vector<std::int64_t>& shape);
  void read_array(const std::string& path, hid_t type, void* values, std::size_t count) const;
  void overwrite(const std::string& path, hid_t type, const void* value);

  hid_t column(const std::string& path) const;
  hsize_t element_count(hid_t dataset, const std::string& path) const;
  std::vector<hsize_t> extent(hid_t dataset, const std::string& path) const;
  template <typename T>
  std::vector<T> read(const std::string& path, hid_t type,
                      std::size_t values_per_element = 1) const;
  template <typename T>
  T read_scalar(const std::string& path, hid_t type) const;
  std::size_t text_capacity(const std::string& path) const;

  std::vector<std::string> children(const std::string& group) const;
  void create_group(const std::string& path);
  bool is_group(const std::string& name) const;
  void copy_group(const Handle& source, const std::string& path);
  bool copy_soft_link(const Handle& source, const std::string& path);
  void copy_object(const Handle& source, const std::string& path);
  void copy_attribute(const Handle& source, const std::string& path, hsize_t index);

  fs::path path;     // the name that the user knows
  fs::path partial;  // where a new file stands until it is published; then empty
  bool writing;
  bool broken = false;
  off_t flushed_bytes = 0;  // how long the file was after the last flush
  FileId file;
  mutable std::map<std::string, DatasetId> open_columns;  // last: closed before the file
};

// After a failed write HDF5 would try again on closing and could mark a file as complete that is
// not. Left alone it is in the state that a killed writer leaves, which loses nothing that was
// flushed.
Hdf5File::Handle::~Handle() {
  if (broken) {
    for (auto& [name, dataset] : open_columns) dataset.release();
    file.release();
  }
  open_columns.clear();
  file = FileId();
  std::error_code ignored;
  if (!partial.empty()) fs::remove(partial, ignored);
}

std::unique_ptr<Hdf5File::Handle> Hdf5File::Handle::create(const fs::path& path) {
  auto handle = std::make_unique<Handle>(path, true);
  remove_partial(path);
  const auto partial = partial_path(path);
  const auto access = access_properties();
  const auto creation = creation_properties();
  handle->file = FileId(
      handle->written(H5Fcreate(partial.c_str(), H5F_ACC_EXCL, creation, access), "the file"));
  handle->partial = partial;
  return handle;
}

std::unique_ptr<Hdf5File::Handle> Hdf5File::Handle::open(const fs::path& path) {
  auto handle = std::make_unique<Handle>(path, false);
  const auto access = access_properties();
  handle->file = FileId(handle->readable(
      H5Fopen(path.c_str(), H5F_ACC_RDONLY | H5F_ACC_SWMR_READ, access), "the file"));
  return handle;
}

// Everything in the file into its NAME.partial, which stays.
void Hdf5File::Handle::copy_to_partial(const fs::path& path) {
  const auto old = open(path);
  const auto copy = create(path);
  copy->copy_group(*old, "/");
  copy->close_file();
  copy->partial.clear();
}

std::unique_ptr<Hdf5File::Handle> Hdf5File::Handle::open_partial(const fs::path& path) {
  auto handle = std::make_unique<Handle>(path, true);
  handle->partial = partial_path(path);
  const auto access = access_properties();
  handle->file =
      FileId(handle->written(H5Fopen(handle->partial.c_str(), H5F_ACC_RDWR, access), "the file"));
  return handle;
}

void Hdf5File::Handle::publish() {
  if (partial.empty()) return;
  sync_path(partial);
  rename_partial(path);
  partial.clear();
}

struct stat Hdf5File::Handle::status() const {
  void* descriptor = nullptr;
  readable(H5Fget_vfd_handle(file, H5P_DEFAULT, &descriptor), "the file");
  struct stat status {};
  ::fstat(*static_cast<int*>(descriptor), &status);
  return status;
}

// Whoever deletes, moves, replaces or cuts a file cannot be kept from it, but is not ignored
// either.
void Hdf5File::Handle::require_in_place() {
  const auto ours = status();
  struct stat named {};
  const bool there = ::stat((partial.empty() ? path : partial).c_str(), &named) == 0 &&
                     ours.st_dev == named.st_dev && ours.st_ino == named.st_ino;
  if (there && ours.st_size >= flushed_bytes) return;
  broken = true;
  throw FileLostError(fmt::format("{}: was {} by somebody else while it was written", path.string(),
                                  there ? "cut off" : "deleted, moved or replaced"));
}

// A second try could succeed and mark a file as complete that is not: see ~Handle.
void Hdf5File::Handle::require_unbroken() const {
  if (!broken) return;
  throw std::runtime_error(
      fmt::format("{}: cannot be written any more after a write that failed", path.string()));
}

// Column by column first, because that stops at an error: flushing the whole file goes on and would
// note rows on a full disk whose values it could not write.
void Hdf5File::Handle::flush() {
  require_unbroken();
  require_in_place();
  for (const auto& [name, dataset] : open_columns) written(H5Dflush(dataset), name);
  written(H5Fflush(file, H5F_SCOPE_GLOBAL), "the file");
  flushed_bytes = status().st_size;
}

void Hdf5File::Handle::close_columns() {
  for (auto& [name, dataset] : open_columns) written(dataset.close(), name);
  open_columns.clear();
}

void Hdf5File::Handle::close_file() {
  if (writing) flush();
  close_columns();
  written(file.close(), "the file");
}

hid_t Hdf5File::Handle::written(hid_t result, const std::string& object) {
  if (result >= 0) return result;
  broken = true;
  throw std::runtime_error(
      fmt::format("{}: {}: cannot be written: {}", path.string(), object, last_cause().text));
}

hid_t Hdf5File::Handle::readable(hid_t result, const std::string& object) const {
  return result >= 0 ? result : blockwise::readable(result, place(object));
}

void Hdf5File::Handle::put_attribute(const std::string& object, const std::string& name, hid_t type,
                                     const void* value) {
  put_attribute(object, name, type, SpaceId(H5Screate(H5S_SCALAR)), value);
}

void Hdf5File::Handle::put_attribute(const std::string& object, const std::string& name, hid_t type,
                                     hid_t space, const void* values) {
  const auto what = fmt::format("{} attribute '{}'", object, name);
  ObjectId target(written(H5Oopen(file, object.c_str(), H5P_DEFAULT), what));
  if (H5Aexists(target, name.c_str()) > 0) written(H5Adelete(target, name.c_str()), what);
  AttributeId attribute(
      written(H5Acreate2(target, name.c_str(), type, space, H5P_DEFAULT, H5P_DEFAULT), what));
  const bool has_values = H5Sget_simple_extent_npoints(space) > 0;
  if (has_values) written(H5Awrite(attribute, type, values), what);
  written(attribute.close(), what);
  written(target.close(), what);
}

void Hdf5File::Handle::put_text_attribute(const std::string& object, const std::string& name,
                                          std::string_view text) {
  const std::string value(text);
  const char* start = value.c_str();
  put_attribute(object, name, variable_text_type(), &start);
}

// Of variable length, or, in files of an earlier version, of a fixed one.
std::string Hdf5File::Handle::attribute_text(hid_t attribute, const std::string& what) const {
  const TypeId stored(readable(H5Aget_type(attribute), what));
  if (H5Tis_variable_str(stored) <= 0) {
    std::string text(std::max<std::size_t>(H5Tget_size(stored), H5Aget_storage_size(attribute)),
                     '\0');
    readable(H5Aread(attribute, text_type(H5Tget_size(stored)), text.data()), what);
    return unpadded(text);
  }
  const SpaceId space(readable(H5Aget_space(attribute), what));
  require_input(H5Sget_simple_extent_npoints(space) == 1, "{}: not a single text", place(what));
  char* value = nullptr;
  readable(H5Aread(attribute, stored, &value), what);
  const std::string text(value == nullptr ? "" : value);
  H5free_memory(value);
  return text;
}

DatasetId Hdf5File::Handle::create_dataset(const Label& label, hid_t type, hid_t space,
                                           hid_t properties) {
  const auto& [name, units, doc] = label;
  DatasetId dataset(written(
      H5Dcreate2(file, name.c_str(), type, space, H5P_DEFAULT, properties, H5P_DEFAULT), name));
  put_text_attribute(name, "units", units);
  put_text_attribute(name, "description", doc);
  return dataset;
}

void Hdf5File::Handle::create_column(const Label& label, hid_t type, std::span<const hsize_t> row) {
  hsize_t width = 1;
  for (const auto size : row) width *= size;
  std::vector<hsize_t> size = {0}, most = {H5S_UNLIMITED};
  std::vector<hsize_t> chunk = {std::max<hsize_t>(1, kChunkRows / width)};
  for (auto* extents : {&size, &most, &chunk})
    extents->insert(extents->end(), row.begin(), row.end());
  const auto rank = static_cast<int>(size.size());
  const SpaceId space(H5Screate_simple(rank, size.data(), most.data()));
  const PropertiesId properties(H5Pcreate(H5P_DATASET_CREATE));
  H5Pset_chunk(properties, rank, chunk.data());
  written(create_dataset(label, type, space, properties).close(), label.path);
}

void Hdf5File::Handle::create_filled(const Label& label, hid_t type, hid_t space,
                                     const void* values) {
  auto dataset = create_dataset(label, type, space, H5P_DEFAULT);
  written(H5Dwrite(dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values), label.path);
  written(dataset.close(), label.path);
}

void Hdf5File::Handle::write_array(const Label& label, hid_t type, const void* values,
                                   std::size_t count, const std::vector<std::int64_t>& shape) {
  const std::vector<hsize_t> sizes(shape.begin(), shape.end());
  const SpaceId space(H5Screate_simple(static_cast<int>(sizes.size()), sizes.data(), nullptr));
  check_equal(static_cast<std::size_t>(H5Sget_simple_extent_npoints(space)), count,
              "elements of the array " + label.path);
  create_filled(label, type, space, values);
}

void Hdf5File::Handle::read_array(const std::string& name, hid_t type, void* values,
                                  std::size_t count) const {
  const DatasetId dataset(readable(H5Dopen2(file, name.c_str(), H5P_DEFAULT), name));
  const TypeId stored(readable(H5Dget_type(dataset), name));
  require_input(H5Tequal(stored, type) > 0, "{}: {}: the array is of another type", path.string(),
                name);
  const auto elements = element_count(dataset, name);
  require_input(elements == count, "{}: {}: {} elements, there must be {}", path.string(), name,
                elements, count);
  require_stored(dataset, place(name));
  readable(H5Dread(dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values), name);
}

// Columns stay open: a row is one write per column.
hid_t Hdf5File::Handle::column(const std::string& name) const {
  auto& dataset = open_columns[name];
  if (dataset < 0) dataset = DatasetId(readable(H5Dopen2(file, name.c_str(), H5P_DEFAULT), name));
  return dataset;
}

hsize_t Hdf5File::Handle::element_count(hid_t dataset, const std::string& name) const {
  const SpaceId space(readable(H5Dget_space(dataset), name));
  return static_cast<hsize_t>(readable(H5Sget_simple_extent_npoints(space), name));
}

std::vector<hsize_t> Hdf5File::Handle::extent(hid_t dataset, const std::string& name) const {
  const SpaceId space(readable(H5Dget_space(dataset), name));
  std::vector<hsize_t> sizes(
      static_cast<std::size_t>(readable(H5Sget_simple_extent_ndims(space), name)));
  H5Sget_simple_extent_dims(space, sizes.data(), nullptr);
  require_input(!sizes.empty(), "{}: {}: a single value where rows are expected", path.string(),
                name);
  return sizes;
}

void Hdf5File::Handle::append(const std::string& name, hid_t type, const void* values,
                              hsize_t count) {
  if (count == 0) return;
  require_unbroken();
  const auto dataset = column(name);
  auto after = extent(dataset, name);
  auto block = after, start = std::vector<hsize_t>(after.size(), 0);
  hsize_t width = 1;
  for (std::size_t i = 1; i < after.size(); ++i) width *= after[i];
  check_equal(count % width, hsize_t{0}, "values left over by whole rows of " + name);
  start[0] = after[0];
  block[0] = count / width;
  after[0] += block[0];
  written(H5Dset_extent(dataset, after.data()), name);
  const SpaceId rows(written(H5Dget_space(dataset), name));
  written(H5Sselect_hyperslab(rows, H5S_SELECT_SET, start.data(), nullptr, block.data(), nullptr),
          name);
  const SpaceId memory(H5Screate_simple(1, &count, nullptr));
  written(H5Dwrite(dataset, type, memory, rows, H5P_DEFAULT, values), name);
}

void Hdf5File::Handle::overwrite(const std::string& name, hid_t type, const void* value) {
  require_unbroken();
  DatasetId dataset(written(H5Dopen2(file, name.c_str(), H5P_DEFAULT), name));
  written(H5Dwrite(dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, value), name);
  written(dataset.close(), name);
}

template <typename T>
std::vector<T> Hdf5File::Handle::read(const std::string& name, hid_t type,
                                      std::size_t values_per_element) const {
  const DatasetId dataset(readable(H5Dopen2(file, name.c_str(), H5P_DEFAULT), name));
  if (!writing) require_stored(dataset, place(name));
  std::vector<T> values(element_count(dataset, name) * values_per_element);
  readable(H5Dread(dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data()), name);
  return values;
}

template <typename T>
T Hdf5File::Handle::read_scalar(const std::string& name, hid_t type) const {
  const auto values = read<T>(name, type);
  require_input(values.size() == 1, "{}: {}: {} values, there must be 1", path.string(), name,
                values.size());
  return values.front();
}

std::size_t Hdf5File::Handle::text_capacity(const std::string& name) const {
  const DatasetId dataset(readable(H5Dopen2(file, name.c_str(), H5P_DEFAULT), name));
  const TypeId type(readable(H5Dget_type(dataset), name));
  return H5Tget_size(type);
}

std::vector<std::string> Hdf5File::Handle::children(const std::string& group) const {
  const ObjectId object(readable(H5Oopen(file, group.c_str(), H5P_DEFAULT), group));
  H5G_info_t info;
  readable(H5Gget_info(object, &info), group);
  std::vector<std::string> names;
  for (hsize_t i = 0; i < info.nlinks; ++i) {
    const auto name = [&](char* out, std::size_t size) {
      return readable(
          H5Lget_name_by_idx(object, ".", H5_INDEX_NAME, H5_ITER_INC, i, out, size, H5P_DEFAULT),
          group);
    };
    std::string text(static_cast<std::size_t>(name(nullptr, 0)), '\0');
    name(text.data(), text.size() + 1);
    names.push_back(std::move(text));
  }
  return names;
}

// Attributes stay in the group's header, however many they are: HDF5 1.10 dies of copying those of
// variable length from where it puts more than 8 of them otherwise.
void Hdf5File::Handle::create_group(const std::string& name) {
  const PropertiesId properties(H5Pcreate(H5P_GROUP_CREATE));
  H5Pset_attr_phase_change(properties, 255, 0);
  GroupId group(
      written(H5Gcreate2(file, name.c_str(), H5P_DEFAULT, properties, H5P_DEFAULT), name));
  written(group.close(), name);
}

// Group by group, for the same reason: a file that is there may have its attributes elsewhere.
void Hdf5File::Handle::copy_group(const Handle& source, const std::string& name) {
  for (const auto& child : source.children(name)) {
    copy_object(source, name == "/" ? name + child : fmt::format("{}/{}", name, child));
  }
  const ObjectId group(source.readable(H5Oopen(source.file, name.c_str(), H5P_DEFAULT), name));
  const auto count = H5Aget_num_attrs(group);
  for (int i = 0; i < count; ++i) copy_attribute(source, name, static_cast<hsize_t>(i));
}

// By opening it: the function that asks without has other arguments in every version of the
// library.
bool Hdf5File::Handle::is_group(const std::string& name) const {
  const ObjectId object(readable(H5Oopen(file, name.c_str(), H5P_DEFAULT), name));
  return H5Iget_type(object) == H5I_GROUP;
}

// A link by name, which may lead nowhere; what it leads to is copied where it lies.
bool Hdf5File::Handle::copy_soft_link(const Handle& source, const std::string& name) {
  H5L_info_t info;
  source.readable(H5Lget_info(source.file, name.c_str(), &info, H5P_DEFAULT), name);
  if (info.type != H5L_TYPE_SOFT) return false;
  std::vector<char> target(info.u.val_size + 1, '\0');
  source.readable(H5Lget_val(source.file, name.c_str(), target.data(), target.size(), H5P_DEFAULT),
                  name);
  written(H5Lcreate_soft(target.data(), file, name.c_str(), H5P_DEFAULT, H5P_DEFAULT), name);
  return true;
}

void Hdf5File::Handle::copy_object(const Handle& source, const std::string& name) {
  if (copy_soft_link(source, name)) return;
  if (source.is_group(name)) {
    create_group(name);
    return copy_group(source, name);
  }
  if (H5Ocopy(source.file, name.c_str(), file, name.c_str(), H5P_DEFAULT, H5P_DEFAULT) >= 0) {
    return;
  }
  const auto cause = last_cause();
  const auto text = fmt::format("{}: {}: cannot be copied: {}", path.string(), name, cause.text);
  broken = true;
  if (cause.writing) throw std::runtime_error(text);
  throw InputError(text);
}

void Hdf5File::Handle::copy_attribute(const Handle& source, const std::string& object,
                                      hsize_t index) {
  const AttributeId attribute(
      source.readable(H5Aopen_by_idx(source.file, object.c_str(), H5_INDEX_NAME, H5_ITER_INC, index,
                                     H5P_DEFAULT, H5P_DEFAULT),
                      object));
  char name[256] = "";
  source.readable(H5Aget_name(attribute, sizeof(name), name), object);
  const TypeId type(source.readable(H5Aget_type(attribute), name));
  const SpaceId space(source.readable(H5Aget_space(attribute), name));
  const auto count = source.readable(H5Sget_simple_extent_npoints(space), name);
  std::vector<std::byte> values(static_cast<std::size_t>(count) * H5Tget_size(type));
  if (count > 0) source.readable(H5Aread(attribute, type, values.data()), name);
  put_attribute(object, name, type, space, values.data());
  // Of texts of any length HDF5 has allocated the texts.
  if (count > 0) H5Dvlen_reclaim(type, space, H5P_DEFAULT, values.data());
}

Hdf5File::Hdf5File(std::unique_ptr<Handle> handle) : handle_(std::move(handle)) {}
Hdf5File::Hdf5File(Hdf5File&&) noexcept = default;
Hdf5File& Hdf5File::operator=(Hdf5File&&) noexcept = default;
Hdf5File::~Hdf5File() = default;

Hdf5File Hdf5File::create(const fs::path& path) {
  std::error_code unknown;  // then creating it says what is wrong
  require_input(!fs::exists(path, unknown), "{}: there is a file already", path.string());
  return Hdf5File(Handle::create(path));
}

namespace {

void require_hdf5(const fs::path& path) {
  require_input(input_exists(path), "{}: there is no such file", path.string());
  const InputFile regular(path);
  require_input(Hdf5File::is_hdf5(path), "{}: not an HDF5 file", path.string());
}

// True where this process has the file open: it was checked then or is as good as we make it, and
// a copy of a half-written state in another process could write to it.
bool is_open_here(const fs::path& path) {
  struct stat named {};
  initialize_hdf5();
  const auto count = H5Fget_obj_count(H5F_OBJ_ALL, H5F_OBJ_FILE);
  if (count <= 0 || ::stat(path.c_str(), &named) != 0) return false;
  std::vector<hid_t> files(static_cast<std::size_t>(count));
  H5Fget_obj_ids(H5F_OBJ_ALL, H5F_OBJ_FILE, files.size(), files.data());
  return std::ranges::any_of(files, [&](hid_t file) {
    void* descriptor = nullptr;
    struct stat status {};
    return H5Fget_vfd_handle(file, H5P_DEFAULT, &descriptor) >= 0 &&
           ::fstat(*static_cast<int*>(descriptor), &status) == 0 && status.st_dev == named.st_dev &&
           status.st_ino == named.st_ino;
  });
}

// The library frees, reads and follows what a damaged file makes it to: it dies or never returns.
// So somebody else looks first. Memory is not taken from the library's own lists of free blocks,
// which would hide what run_trial() does to show defects.
TrialResult try_with_hdf5(const std::function<void()>& work) {
  initialize_hdf5();
  return run_trial([&] {
    H5garbage_collect();
    H5set_free_list_limits(0, 0, 0, 0, 0, 0);
    work();
  });
}

void require_done(const TrialResult& result, const fs::path& path) {
  if (result.kind == TrialResult::Kind::done) return;
  if (result.kind == TrialResult::Kind::input_error) throw InputError(result.text);
  if (result.kind == TrialResult::Kind::error) throw std::runtime_error(result.text);
  throw InputError(fmt::format("{}: cannot be read, it is damaged: HDF5 does not survive it ({})",
                               path.string(), result.text));
}

}  // namespace

Hdf5File Hdf5File::open_for_reading(const fs::path& path) {
  require_hdf5(path);
  if (!is_open_here(path)) require_done(try_with_hdf5([&] { check_hdf5(path); }), path);
  return Hdf5File(Handle::open(path));
}

// This process never touches the old file.
Hdf5File Hdf5File::open_for_appending(const fs::path& path) {
  require_hdf5(path);
  const auto result = try_with_hdf5([&] {
    check_hdf5(path);
    Handle::copy_to_partial(path);
    check_hdf5(partial_path(path));
  });
  if (result.kind != TrialResult::Kind::done) ::unlink(partial_path(path).c_str());
  require_done(result, path);
  return Hdf5File(Handle::open_partial(path));
}

bool Hdf5File::is_hdf5(const fs::path& path) {
  try {
    const InputFile file(path);
    std::array<char, kSignature.size()> start{};
    return ::pread(file.descriptor(), start.data(), start.size(), 0) == ssize_t{start.size()} &&
           std::string_view(start.data(), start.size()) == kSignature;
  } catch (const InputError&) {
    return false;
  }
}

void Hdf5File::create_group(const std::string& path) { handle_->create_group(path); }

void Hdf5File::remove(const std::string& path) {
  handle_->written(H5Ldelete(handle_->file, path.c_str(), H5P_DEFAULT), path);
}

void Hdf5File::set_attribute(const std::string& object, const std::string& name,
                             std::string_view text) {
  handle_->put_text_attribute(object, name, text);
}

void Hdf5File::set_attribute(const std::string& object, const std::string& name,
                             std::int64_t value) {
  handle_->put_attribute(object, name, H5T_NATIVE_INT64, &value);
}

std::string Hdf5File::text_attribute(const std::string& object, const std::string& name) const {
  const auto what = fmt::format("{} attribute '{}'", object, name);
  const AttributeId attribute(handle_->readable(
      H5Aopen_by_name(handle_->file, object.c_str(), name.c_str(), H5P_DEFAULT, H5P_DEFAULT),
      what));
  return handle_->attribute_text(attribute, what);
}

std::int64_t Hdf5File::integer_attribute(const std::string& object, const std::string& name) const {
  const auto what = fmt::format("{} attribute '{}'", object, name);
  const AttributeId attribute(handle_->readable(
      H5Aopen_by_name(handle_->file, object.c_str(), name.c_str(), H5P_DEFAULT, H5P_DEFAULT),
      what));
  const SpaceId space(handle_->readable(H5Aget_space(attribute), what));
  require_input(H5Sget_simple_extent_npoints(space) == 1, "{}: {}: not a single number",
                handle_->path.string(), what);
  std::int64_t value = 0;
  handle_->readable(H5Aread(attribute, H5T_NATIVE_INT64, &value), what);
  return value;
}

bool Hdf5File::has(const std::string& path) const {
  for (std::size_t end = path.find('/', 1);; end = path.find('/', end + 1)) {
    const auto prefix = path.substr(0, end);
    if (prefix != "/" && H5Lexists(handle_->file, prefix.c_str(), H5P_DEFAULT) <= 0) return false;
    if (end == std::string::npos) return true;
  }
}

void Hdf5File::create_real_column(const std::string& path, std::string_view units,
                                  std::string_view doc) {
  handle_->create_column({path, units, doc}, H5T_IEEE_F64LE, {});
}

void Hdf5File::create_real_rows(const std::string& path, std::int64_t width, std::string_view units,
                                std::string_view doc) {
  const auto size = static_cast<hsize_t>(width);
  handle_->create_column({path, units, doc}, H5T_IEEE_F64LE, {&size, 1});
}

void Hdf5File::create_integer_column(const std::string& path, std::string_view units,
                                     std::string_view doc) {
  handle_->create_column({path, units, doc}, H5T_STD_I64LE, {});
}

void Hdf5File::append(const std::string& path, std::span<const double> values) {
  handle_->append(path, H5T_NATIVE_DOUBLE, values.data(), values.size());
}

void Hdf5File::append(const std::string& path, std::span<const std::int64_t> values) {
  handle_->append(path, H5T_NATIVE_INT64, values.data(), values.size());
}

std::vector<double> Hdf5File::real_column(const std::string& path) const {
  return handle_->read<double>(path, H5T_NATIVE_DOUBLE);
}

std::vector<std::int64_t> Hdf5File::integer_column(const std::string& path) const {
  return handle_->read<std::int64_t>(path, H5T_NATIVE_INT64);
}

std::int64_t Hdf5File::rows(const std::string& path) const {
  return static_cast<std::int64_t>(handle_->extent(handle_->column(path), path).front());
}

void Hdf5File::truncate(const std::string& path, std::int64_t rows) {
  auto extent = handle_->extent(handle_->column(path), path);
  extent.front() = static_cast<hsize_t>(rows);
  handle_->written(H5Dset_extent(handle_->column(path), extent.data()), path);
}

void Hdf5File::write_text_column(const std::string& path, const std::vector<std::string>& values,
                                 std::string_view units, std::string_view doc) {
  std::size_t capacity = 1;
  for (const auto& value : values) capacity = std::max(capacity, value.size());
  std::string packed;
  for (const auto& value : values) packed += fitted(value, capacity);
  const hsize_t count = values.size();
  const SpaceId space(H5Screate_simple(1, &count, nullptr));
  handle_->create_filled({path, units, doc}, text_type(capacity), space, packed.data());
}

std::vector<std::string> Hdf5File::text_column(const std::string& path) const {
  const auto capacity = handle_->text_capacity(path);
  const auto packed = handle_->read<char>(path, text_type(capacity), capacity);
  std::vector<std::string> values;
  for (std::size_t i = 0; i < packed.size(); i += capacity) {
    values.push_back(unpadded({packed.data() + i, capacity}));
  }
  return values;
}

void Hdf5File::write_array(const std::string& path, std::span<const float> values,
                           const std::vector<std::int64_t>& shape, std::string_view units,
                           std::string_view doc) {
  handle_->write_array({path, units, doc}, H5T_IEEE_F32LE, values.data(), values.size(), shape);
}

void Hdf5File::write_array(const std::string& path, std::span<const double> values,
                           const std::vector<std::int64_t>& shape, std::string_view units,
                           std::string_view doc) {
  handle_->write_array({path, units, doc}, H5T_IEEE_F64LE, values.data(), values.size(), shape);
}

void Hdf5File::overwrite_array(const std::string& path, std::span<const double> values) {
  const auto count = checked_product(handle_->place(path), array_shape(path));
  check_equal(static_cast<std::size_t>(count), values.size(), "elements of the array " + path);
  handle_->overwrite(path, H5T_NATIVE_DOUBLE, values.data());
}

std::vector<std::int64_t> Hdf5File::array_shape(const std::string& path) const {
  const DatasetId dataset(
      handle_->readable(H5Dopen2(handle_->file, path.c_str(), H5P_DEFAULT), path));
  if (!handle_->writing) require_stored(dataset, handle_->place(path));
  const SpaceId space(handle_->readable(H5Dget_space(dataset), path));
  std::vector<hsize_t> sizes(static_cast<std::size_t>(H5Sget_simple_extent_ndims(space)));
  H5Sget_simple_extent_dims(space, sizes.data(), nullptr);
  return {sizes.begin(), sizes.end()};
}

void Hdf5File::read_array(const std::string& path, std::span<float> values) const {
  handle_->read_array(path, H5T_IEEE_F32LE, values.data(), values.size());
}

void Hdf5File::read_array(const std::string& path, std::span<double> values) const {
  handle_->read_array(path, H5T_IEEE_F64LE, values.data(), values.size());
}

void Hdf5File::create_text(const std::string& path, std::string_view text, std::size_t capacity,
                           std::string_view doc) {
  const SpaceId scalar(H5Screate(H5S_SCALAR));
  handle_->create_filled({path, "text", doc}, text_type(capacity), scalar,
                         fitted(text, capacity).data());
}

void Hdf5File::write_text(const std::string& path, std::string_view text) {
  const auto capacity = handle_->text_capacity(path);
  handle_->overwrite(path, text_type(capacity), fitted(text, capacity).data());
}

std::string Hdf5File::text(const std::string& path) const {
  const auto values = text_column(path);
  require_input(values.size() == 1, "{}: {}: {} values, there must be 1", handle_->path.string(),
                path, values.size());
  return values.front();
}

void Hdf5File::create_integer(const std::string& path, std::int64_t value, std::string_view units,
                              std::string_view doc) {
  const SpaceId scalar(H5Screate(H5S_SCALAR));
  handle_->create_filled({path, units, doc}, H5T_STD_I64LE, scalar, &value);
}

void Hdf5File::write_integer(const std::string& path, std::int64_t value) {
  handle_->overwrite(path, H5T_NATIVE_INT64, &value);
}

std::int64_t Hdf5File::integer(const std::string& path) const {
  return handle_->read_scalar<std::int64_t>(path, H5T_NATIVE_INT64);
}

void Hdf5File::create_enum(const std::string& path, const std::vector<std::string>& names,
                           std::int64_t value, std::string_view doc) {
  const TypeId type(H5Tenum_create(H5T_STD_I8LE));
  for (std::size_t i = 0; i < names.size(); ++i) {
    const auto number = static_cast<std::int8_t>(i);
    handle_->written(H5Tenum_insert(type, names[i].c_str(), &number), path);
  }
  const SpaceId scalar(H5Screate(H5S_SCALAR));
  const auto stored = static_cast<std::int8_t>(value);
  handle_->create_filled({path, "enumeration", doc}, type, scalar, &stored);
}

void Hdf5File::write_enum(const std::string& path, std::int64_t value) {
  DatasetId dataset(handle_->written(H5Dopen2(handle_->file, path.c_str(), H5P_DEFAULT), path));
  const TypeId type(handle_->written(H5Dget_type(dataset), path));
  handle_->written(dataset.close(), path);
  const auto stored = static_cast<std::int8_t>(value);
  handle_->overwrite(path, type, &stored);
}

std::int64_t Hdf5File::enum_value(const std::string& path) const {
  return handle_->read_scalar<std::int8_t>(path, H5T_NATIVE_INT8);
}

void Hdf5File::create_external_link(const std::string& path, const std::string& file,
                                    const std::string& object) {
  handle_->written(H5Lcreate_external(file.c_str(), object.c_str(), handle_->file, path.c_str(),
                                      H5P_DEFAULT, H5P_DEFAULT),
                   path);
}

std::vector<std::string> Hdf5File::children(const std::string& group) const {
  return handle_->children(group);
}

void Hdf5File::start_swmr() {
  handle_->close_columns();
  handle_->written(H5Fstart_swmr_write(handle_->file), "the file");
  handle_->publish();
}

void Hdf5File::flush() { handle_->flush(); }

void Hdf5File::close() {
  handle_->close_file();
  if (handle_->partial.empty()) return sync_path(handle_->path);
  handle_->publish();
}

std::string hdf5_version() {
  initialize_hdf5();
  unsigned major = 0, minor = 0, release = 0;
  H5get_libversion(&major, &minor, &release);
  return fmt::format("{}.{}.{}", major, minor, release);
}

}  // namespace blockwise
