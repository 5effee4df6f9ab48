// LibTorch's CPU allocator with a cache for large tensors.
#pragma once

namespace blockwise {

// From here on, LibTorch takes tensors of 4 MiB and more from a LargeBlockCache; smaller ones come
// from the C library as before. LibTorch's memory reports (MemoryMeter) see the same bytes either
// way. Does nothing where the user has chosen an allocator: LD_PRELOAD, MALLOC_* or glibc.malloc in
// GLIBC_TUNABLES is set, or BLOCKWISE_ALLOCATOR=system. To be called before the first tensor is
// made; a second call does nothing.
void install_caching_allocator();

}  // namespace blockwise
