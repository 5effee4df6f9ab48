// A run's HDF5 file, through the reader that lets another process look first.
#include "core/io/hdf5_file.hpp"
#include "experiments/records/hessian_recorder.hpp"
#include "experiments/records/run_recorder.hpp"
#include "tests/fuzz/support.hpp"

using namespace blockwise;

FUZZ_TARGET(bytes) {
  static const fuzz::InputFolder folder;
  const auto path = folder.write("run.h5", bytes);
  fuzz::accepts([&] { read_run(path); });
  read_hessian_rows(Hdf5File::open_for_reading(path));
}
