#include "core/io/hdf5_check.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "core/base/error.hpp"
#include "core/io/hdf5_handles.hpp"

namespace blockwise {
namespace {

constexpr int kDeepestGroup = 32;
constexpr std::size_t kMostLinks = 1 << 20;       // of one group
constexpr hsize_t kMostChunkBytes = 64 << 20;     // of one chunk; ours have 8 KiB
constexpr hsize_t kMostColumnBytes = 1LL << 30;   // of one chunked dataset in a smaller file
constexpr hsize_t kMostAttributeBytes = 1 << 20;  // of one attribute

// ---- storage ------------------------------------------------------------------------------------

std::uint64_t bytes_on_disk(hid_t dataset, const std::string& place) {
  // Its own file: a link may have led to another one.
  const FileId file(readable(H5Iget_file_id(dataset), place));
  void* descriptor = nullptr;
  readable(H5Fget_vfd_handle(file, H5P_DEFAULT, &descriptor), place);
  struct stat status {};
  ::fstat(*static_cast<int*>(descriptor), &status);
  return static_cast<std::uint64_t>(status.st_size);
}

struct Extent {
  hsize_t elements = 0;
  hsize_t element_bytes = 0;
  hsize_t bytes = 0;
};

Extent extent_of(hid_t dataset, const std::string& place) {
  const SpaceId space(readable(H5Dget_space(dataset), place));
  const TypeId type(readable(H5Dget_type(dataset), place));
  Extent extent;
  extent.elements = static_cast<hsize_t>(readable(H5Sget_simple_extent_npoints(space), place));
  extent.element_bytes = H5Tget_size(type);
  const bool fits = !__builtin_mul_overflow(extent.elements, extent.element_bytes, &extent.bytes);
  require_input(fits && extent.element_bytes > 0, "{}: cannot be read: {} elements of {} bytes",
                place, extent.elements, extent.element_bytes);
  return extent;
}

void require_in_file(haddr_t address, hsize_t bytes, std::uint64_t end, const std::string& place) {
  require_input(address != HADDR_UNDEF && address <= end && bytes <= end - address,
                "{}: cannot be read: the file is truncated", place);
}

void require_chunks_stored(hid_t dataset, hid_t properties, const Extent& extent,
                           const std::string& place) {
  using Sizes = std::array<hsize_t, 2>;
  Sizes chunk = {0, 1}, size = {0, 1};
  const auto rank = readable(H5Pget_chunk(properties, 2, chunk.data()), place);
  require_input(rank == 1 || rank == 2, "{}: {} dimensions, columns and rows have 1 or 2", place,
                rank);
  const SpaceId space(readable(H5Dget_space(dataset), place));
  readable(H5Sget_simple_extent_dims(space, size.data(), nullptr), place);
  const auto end = bytes_on_disk(dataset, place);
  // Ours are not compressed, so what is long is in the file; a short file may claim anything.
  const auto most_bytes = std::max<hsize_t>(kMostColumnBytes, end + kMostChunkBytes);
  require_input(chunk[0] > 0 && chunk[1] > 0 && chunk[1] == size[1] &&
                    chunk[1] <= kMostChunkBytes / extent.element_bytes &&
                    chunk[0] <= kMostChunkBytes / extent.element_bytes / chunk[1] &&
                    extent.bytes <= most_bytes,
                "{}: cannot be read: {} rows of {} bytes in pieces of {} rows", place, size[0],
                extent.element_bytes, chunk[0]);
  for (Sizes at = {0, 0}; at[0] < size[0]; at[0] += chunk[0]) {
    haddr_t address = HADDR_UNDEF;
    hsize_t bytes = 0;
    readable(H5Dget_chunk_info_by_coord(dataset, at.data(), nullptr, &address, &bytes), place);
    require_in_file(address, bytes, end, place);
  }
}

// ---- everything in a file -----------------------------------------------------------------------

// Which object this is: its file and where it lies there.
using ObjectKey = std::array<std::uint64_t, 3>;

ObjectKey key_of(hid_t object, const std::string& place) {
  ObjectKey key{};
#if H5_VERSION_GE(1, 12, 0)
  H5O_info2_t info;
  readable(H5Oget_info3(object, &info, H5O_INFO_BASIC), place);
  static_assert(sizeof(info.token) <= 2 * sizeof(std::uint64_t));
  std::memcpy(&key[1], &info.token, sizeof(info.token));
#else
  H5O_info_t info;
  readable(H5Oget_info2(object, &info, H5O_INFO_BASIC), place);
  key[1] = info.addr;
#endif
  key[0] = info.fileno;
  return key;
}

// Names of a group's links, each with whether it leads to an object of this file by itself.
struct Link {
  std::string name;
  bool hard;
};

herr_t add_link(hid_t, const char* name, const H5L_info_t* info, void* out) {
  auto& links = *static_cast<std::vector<Link>*>(out);
  links.push_back({name, info->type == H5L_TYPE_HARD});
  return links.size() > kMostLinks ? 1 : 0;
}

class Walk {
 public:
  void group(hid_t group, const std::string& place) {
    require_input(static_cast<int>(above_.size()) <= kDeepestGroup,
                  "{}: groups are nested deeper than {}", place, kDeepestGroup);
    std::vector<Link> links;
    hsize_t next = 0;
    readable(H5Literate(group, H5_INDEX_NAME, H5_ITER_NATIVE, &next, add_link, &links), place);
    require_input(links.size() <= kMostLinks, "{}: more than {} objects", place, kMostLinks);
    const auto prefix = place.ends_with('/') ? place : place + "/";
    for (const auto& link : links) follow(group, link, prefix + link.name);
  }

  void object(hid_t object, const std::string& place) {
    const auto key = key_of(object, place);
    require_input(std::ranges::count(above_, key) == 0, "{}: the group is inside itself", place);
    if (!seen_.insert(key).second) return;
    attributes(object, place);
    if (H5Iget_type(object) == H5I_DATASET) dataset(object, place);
    if (H5Iget_type(object) != H5I_GROUP) return;
    above_.push_back(key);
    group(object, place);
    above_.pop_back();
  }

 private:
  // A link by name may lead nowhere, or to another file; whoever reads through it is told.
  void follow(hid_t group, const Link& link, const std::string& place) {
    const ObjectId target(H5Oopen(group, link.name.c_str(), H5P_DEFAULT));
    if (target < 0 && !link.hard) return;
    object(readable(target, place), place);
  }

  static void attributes(hid_t object, const std::string& place) {
    const auto count = readable(H5Aget_num_attrs(object), place);
    for (hsize_t i = 0; i < static_cast<hsize_t>(count); ++i) {
      const AttributeId attribute(readable(
          H5Aopen_by_idx(object, ".", H5_INDEX_NAME, H5_ITER_NATIVE, i, H5P_DEFAULT, H5P_DEFAULT),
          place));
      value(attribute, place);
    }
  }

  static void value(hid_t attribute, const std::string& place) {
    const TypeId type(readable(H5Aget_type(attribute), place));
    const SpaceId space(readable(H5Aget_space(attribute), place));
    const auto elements = readable(H5Sget_simple_extent_npoints(space), place);
    const auto bytes = H5Tget_size(type);
    require_input(
        elements >= 0 && bytes > 0 && static_cast<hsize_t>(elements) <= kMostAttributeBytes / bytes,
        "{}: an attribute of {} elements of {} bytes", place, elements, bytes);
    if (H5Tdetect_class(type, H5T_VLEN) > 0) return;
    std::vector<std::byte> buffer(static_cast<std::size_t>(elements) * bytes + 1);
    readable(H5Aread(attribute, type, buffer.data()), place);
    if (H5Tis_variable_str(type) > 0) H5Dvlen_reclaim(type, space, H5P_DEFAULT, buffer.data());
  }

  static void dataset(hid_t dataset, const std::string& place) {
    require_stored(dataset, place);
    const PropertiesId properties(readable(H5Dget_create_plist(dataset), place));
    const TypeId type(readable(H5Dget_type(dataset), place));
    if (H5Tdetect_class(type, H5T_VLEN) > 0 || H5Tis_variable_str(type) > 0) return;
    if (H5Pget_layout(properties) == H5D_CONTIGUOUS) return;
    const auto extent = extent_of(dataset, place);
    std::vector<std::byte> values(extent.bytes + 1);
    readable(H5Dread(dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data()), place);
  }

  std::set<ObjectKey> seen_;
  std::vector<ObjectKey> above_;  // the groups that lead to the present object
};

}  // namespace

void require_stored(hid_t dataset, const std::string& place) {
  const PropertiesId properties(readable(H5Dget_create_plist(dataset), place));
  const auto extent = extent_of(dataset, place);
  const auto layout = H5Pget_layout(properties);
  if (layout == H5D_CHUNKED) return require_chunks_stored(dataset, properties, extent, place);
  require_input(layout == H5D_CONTIGUOUS || layout == H5D_COMPACT,
                "{}: cannot be read: its values are not in this file", place);
  const auto stored = H5Dget_storage_size(dataset);
  require_input(stored == extent.bytes, "{}: cannot be read: {} bytes are stored, its size is {}",
                place, stored, extent.bytes);
  if (layout == H5D_COMPACT || stored == 0) return;
  require_in_file(H5Dget_offset(dataset), stored, bytes_on_disk(dataset, place), place);
}

void check_hdf5(const std::filesystem::path& path) {
  const auto access = access_properties();
  const FileId file(readable(H5Fopen(path.c_str(), H5F_ACC_RDONLY | H5F_ACC_SWMR_READ, access),
                             path.string() + ": the file"));
  const auto place = path.string() + ": /";
  const ObjectId root(readable(H5Oopen(file, "/", H5P_DEFAULT), place));
  Walk().object(root, place);
}

}  // namespace blockwise
