#include "core/io/hdf5_handles.hpp"

#include <string_view>

#include "core/base/error.hpp"

namespace blockwise {
namespace {

herr_t take_first(unsigned index, const H5E_error2_t* error, void* out) {
  if (index > 0) return 0;
  auto& cause = *static_cast<Hdf5Cause*>(out);
  cause.text = error->desc;
  cause.writing = error->min_num == H5E_WRITEERROR;
  // A failed system call comes with addresses and a time stamp; the reason is what a reader needs.
  constexpr std::string_view mark = "error message = '";
  if (const auto begin = cause.text.find(mark); begin != std::string::npos) {
    cause.text = cause.text.substr(begin + mark.size());
    cause.text = cause.text.substr(0, cause.text.find('\''));
  }
  return 0;
}

}  // namespace

Hdf5Cause last_cause() {
  Hdf5Cause cause;
  H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, take_first, &cause);
  return cause;
}

hid_t readable(hid_t result, const std::string& place) {
  if (result >= 0) return result;
  throw InputError(fmt::format("{}: cannot be read: {}", place, last_cause().text));
}

// At exit the library must not touch files that were given up after a failed write.
void initialize_hdf5() {
  static const herr_t once = H5dont_atexit();
  static_cast<void>(once);
  H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
}

// HDF5's own locks are off: a notebook that holds a file open must not stop a run from resuming.
// Two writers are kept apart by whoever owns the folder.
PropertiesId access_properties() {
  PropertiesId access(H5Pcreate(H5P_FILE_ACCESS));
  H5Pset_libver_bounds(access, H5F_LIBVER_V110, H5F_LIBVER_V110);
  H5Pset_file_locking(access, false, true);
  // A reader that meets a writer's half-written metadata tries again, each time after twice as
  // long, from 1 ns on: 60 ms in all here. The default of 100 attempts never ends on a damaged
  // file.
  H5Pset_metadata_read_attempts(access, 25);
  return access;
}

// A killed writer's last write may be cut where the kernel ends a page of its cache, and metadata
// that lies across such a place is then lost for good, its checksum wrong. In pages of the same
// size no piece of metadata that fits into one lies across two.
PropertiesId creation_properties() {
  constexpr hsize_t kKernelPage = 4096;
  PropertiesId creation(H5Pcreate(H5P_FILE_CREATE));
  H5Pset_file_space_strategy(creation, H5F_FSPACE_STRATEGY_PAGE, false, 1);
  H5Pset_file_space_page_size(creation, kKernelPage);
  return creation;
}

}  // namespace blockwise
