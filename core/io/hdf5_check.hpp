// Whether an HDF5 file is whole, for the files core/io/hdf5_*.cpp and nobody else.
#pragma once

#include <hdf5.h>

#include <filesystem>
#include <string>

namespace blockwise {

// Throws InputError "PLACE: ..." unless every byte that the dataset's header promises is in its
// file. HDF5 itself reads zeros where a file ends too early, allocates whatever a header asks for,
// and reads past a compact dataset that is smaller than its header says.
void require_stored(hid_t dataset, const std::string& place);

// Opens the file as a reader does and decodes everything in it: all groups, attributes and
// datasets, with require_stored() and the values of all chunks (plain arrays are bytes that nothing
// decodes). Objects that are reached twice are looked at once. Throws InputError with the file and
// the object for what is damaged, nested deeper than 32 groups, or a group inside itself. A damaged
// file may end the process or never come to an end: see core/io/trial_process.hpp.
void check_hdf5(const std::filesystem::path& path);

}  // namespace blockwise
