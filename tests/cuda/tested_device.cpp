#include "tests/cuda/tested_device.hpp"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "core/memory/device.hpp"
#include "tests/support/catch.hpp"

namespace blockwise::testing {
namespace {

at::Tensor on_device(const Floats& values) {
  return at::tensor(at::ArrayRef<float>(values), at::kFloat).to(tested_device());
}

// Tensors, each from 16 bytes on as the device's allocator has it; exactly as long as the problem's
// buffers, for tools that watch the ends.
class DeviceMemory : public ProblemMemory {
 public:
  DeviceMemory(const FlatProblem& p, int step)
      : w_(on_device(p.w)),
        g_(on_device(p.g)),
        m_(on_device(p.m)),
        v_(on_device(p.v)),
        rates_(on_device(p.rates)) {
    if (p.copies_in(step)) copies_ = at::full_like(w_, kNoCopy, at::kUInt16);
  }
  kernels::FlatBuffers view() const override {
    const auto data = [](const at::Tensor& x) { return static_cast<float*>(x.data_ptr()); };
    auto* copies = copies_.defined() ? static_cast<std::uint16_t*>(copies_.data_ptr()) : nullptr;
    return {data(w_), data(g_), data(m_), data(v_), data(rates_), copies};
  }
  void read(FlatProblem& p) const override {
    const auto copy = [](const at::Tensor& from, Floats& to) {
      const auto host = from.cpu();
      std::copy_n(host.const_data_ptr<float>(), to.size(), to.begin());
    };
    copy(w_, p.w);
    copy(m_, p.m);
    copy(v_, p.v);
    p.copies.clear();
    if (!copies_.defined()) return;
    const auto host = copies_.cpu();
    p.copies.assign(host.const_data_ptr<std::uint16_t>(),
                    host.const_data_ptr<std::uint16_t>() + host.numel());
  }

 private:
  at::Tensor w_, g_, m_, v_, rates_, copies_;
};

std::unique_ptr<ProblemMemory> device_memory(const FlatProblem& problem, int step) {
  return std::make_unique<DeviceMemory>(problem, step);
}

}  // namespace

at::Device tested_device() { return resolve_device("auto"); }

bool has_cuda_device() {
  if (tested_device().is_cuda()) return true;
  fmt::print("skipped: there is no CUDA device here\n");
  SUCCEED("no CUDA device");
  return false;
}

kernels::MakeFlatStepper& tested_stepper() {
  return tested_device().is_cuda() ? kernels::make_cuda_stepper : kernels::make_fiber_stepper;
}

MakeProblemMemory& tested_memory() {
  return tested_device().is_cuda() ? device_memory : guarded_memory;
}

}  // namespace blockwise::testing
