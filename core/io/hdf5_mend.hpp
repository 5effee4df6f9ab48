// HDF5 files that a killed writer left marked as open: h5py.File(path) and other readers refuse
// them, though nothing that was flushed is lost.
#pragma once

#include <filesystem>

namespace blockwise {

// Whether the file says that a writer has it open: one that is at work, or one that was killed.
// False for what is no HDF5 file.
bool is_marked_open(const std::filesystem::path& path);

// Writes a file that is marked so anew, with all that a reader would find in it, in its place and
// at once. The caller knows that no writer is at work. Cost and errors: Hdf5File's
// open_for_appending(). Returns whether there was anything to mend.
bool mend_hdf5(const std::filesystem::path& path);

// Mends the file where the lock of its folder is free, so that no writer of ours is at work; where
// that cannot be known, or the folder cannot be written to, the file stays as it is.
bool mend_abandoned_hdf5(const std::filesystem::path& path) noexcept;

}  // namespace blockwise
