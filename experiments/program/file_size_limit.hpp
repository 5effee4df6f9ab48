// A limit on file sizes (`ulimit -f`, some schedulers) is an error like a full disk.
#pragma once

namespace blockwise {

// By default the kernel kills a process that writes beyond its limit (SIGXFSZ). From here on the
// write fails with "File too large", and the program says which file that is.
void report_file_size_limit();

}  // namespace blockwise
