// Standard input, output and error are open, whoever started the program.
#pragma once

namespace blockwise {

// A program may be started with some of descriptors 0 to 2 closed (`blockwise ... >&- 2>&-`, some
// schedulers). The next file that it opens would become its standard output, and a progress line
// would be written into a run's file. Closed ones lead to /dev/null from here on. To be called
// before anything is opened.
void open_standard_streams();

}  // namespace blockwise
