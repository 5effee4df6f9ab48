// What carries tensors of a CUDA device between ranks: c10d's NCCL, on LibTorch's streams. Its
// transfers are queued behind what the device was asked for before, and waiting for one has the
// device wait, not the host.
#pragma once

#include <torch/csrc/distributed/c10d/Backend.hpp>
#include <torch/csrc/distributed/c10d/Store.hpp>

#include <chrono>
#include <cstdint>

namespace blockwise {

// For the device that is current (memory/device.hpp); one process to a device. Without an answer
// for `timeout` NCCL ends the process. Throws InputError in a build without NCCL, whose headers
// come with a CUDA build of PyTorch (package nvidia-nccl).
c10::intrusive_ptr<c10d::Backend> make_device_backend(const c10::intrusive_ptr<c10d::Store>& store,
                                                      std::int64_t rank, std::int64_t size,
                                                      std::chrono::seconds timeout);

}  // namespace blockwise
