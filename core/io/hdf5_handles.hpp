// HDF5's identifiers and errors, for the files core/io/hdf5_*.cpp and nobody else.
#pragma once

#include <hdf5.h>

#include <string>
#include <utility>

namespace blockwise {

// An HDF5 identifier that closes itself.
template <herr_t (*close_id)(hid_t)>
class Id {
 public:
  Id() = default;
  explicit Id(hid_t id) : id_(id) {}
  Id(Id&& other) noexcept : id_(other.release()) {}
  Id& operator=(Id&& other) noexcept {
    std::swap(id_, other.id_);
    return *this;
  }
  ~Id() {
    if (id_ >= 0) close_id(id_);
  }
  operator hid_t() const { return id_; }
  hid_t release() { return std::exchange(id_, H5I_INVALID_HID); }
  // The library's answer. Closing what was written to may write, so there a failure is lost data;
  // the destructor cannot say so.
  [[nodiscard]] herr_t close() { return id_ >= 0 ? close_id(release()) : 0; }

 private:
  hid_t id_ = H5I_INVALID_HID;
};
using FileId = Id<H5Fclose>;
using GroupId = Id<H5Gclose>;
using ObjectId = Id<H5Oclose>;
using DatasetId = Id<H5Dclose>;
using AttributeId = Id<H5Aclose>;
using SpaceId = Id<H5Sclose>;
using TypeId = Id<H5Tclose>;
using PropertiesId = Id<H5Pclose>;

// What HDF5 says went wrong at the bottom of its stack of errors.
struct Hdf5Cause {
  std::string text = "unknown error";
  bool writing = false;
};

// To be called before any other HDF5 function, which would clear the stack.
Hdf5Cause last_cause();

// `result` where it is none of HDF5's errors; otherwise InputError "PLACE: cannot be read: CAUSE".
hid_t readable(hid_t result, const std::string& place);

// Before the first use of the library.
void initialize_hdf5();

// How every file of ours is opened.
PropertiesId access_properties();
PropertiesId creation_properties();

}  // namespace blockwise
