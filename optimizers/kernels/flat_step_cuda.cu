// The host's side of a step on a CUDA device: tables, scratch, launches, one synchronisation. This
// source is compiled twice: by nvcc, and by the C++ compiler against
// tests/optimizers/kernels/fibers, which runs it on the CPU.
#include <stdexcept>
#include <string>
#include <vector>

#include "optimizers/kernels/flat_packing.cuh"
#include "optimizers/kernels/flat_update.cuh"

namespace blockwise::kernels {
namespace {

void check(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return;
  throw std::runtime_error(std::string("CUDA: ") + what + ": " + cudaGetErrorString(error));
}

// n values of a type, on the device.
template <typename T>
class DeviceArray {
 public:
  DeviceArray() = default;
  explicit DeviceArray(std::size_t n) {
    if (n > 0) check(cudaMalloc(reinterpret_cast<void**>(&data_), n * sizeof(T)), "memory");
  }
  explicit DeviceArray(const std::vector<T>& values) : DeviceArray(values.size()) {
    if (values.empty()) return;
    check(cudaMemcpy(data_, values.data(), values.size() * sizeof(T), cudaMemcpyHostToDevice),
          "copy to the device");
  }
  ~DeviceArray() { cudaFree(data_); }
  DeviceArray(const DeviceArray&) = delete;
  DeviceArray& operator=(const DeviceArray&) = delete;

  T* data() const { return data_; }

 private:
  T* data_ = nullptr;
};

// A packed buffer's tables on the device.
class DevicePacking {
 public:
  explicit DevicePacking(const PackedBuffer& buffer)
      : format_(buffer.format), first_run_(buffer.first_run), runs_(buffer.runs) {}

  bool is_packed() const { return first_run_.size() > 1 && first_run_.back() > 0; }
  // Where element 0 would be if `memory` held the window, which begins at an element as aligned.
  static float* base(float* memory, const FlatWindow& window) {
    return memory + window.begin % 4 - window.begin;
  }
  const NumberFormat& format() const { return format_; }
  const PackedRun* runs(std::size_t window) const { return runs_.data() + first_run_[window]; }
  std::size_t count(std::size_t window) const {
    return std::size_t(first_run_[window + 1] - first_run_[window]);
  }

 private:
  NumberFormat format_;
  std::vector<std::int64_t> first_run_;
  DeviceArray<PackedRun> runs_;
};

class CudaStepper : public FlatStepper {
 public:
  CudaStepper(const FlatPlan& plan, cudaStream_t stream)
      : stream_(stream),
        piece_count_(plan.pieces.size()),
        group_count_(plan.groups.size()),
        tensor_count_(plan.tensor_pieces.size() - 1),
        norm_part_count_((piece_count_ + kNormPart - 1) / kNormPart),
        pieces_(plan.pieces),
        values_(plan.values),
        groups_(plan.groups),
        tensor_pieces_(plan.tensor_pieces),
        partials_(std::size_t(plan.partials)),
        piece_squares_(piece_count_),
        norm_parts_(norm_part_count_),
        group_means_(group_count_),
        piece_moved_(piece_count_),
        outcome_(sizeof(Outcome) + tensor_count_ * sizeof(double)),
        host_outcome_(sizeof(Outcome) + tensor_count_ * sizeof(double)),
        windows_(plan.packing.windows),
        packed_w_(plan.packing.w),
        packed_m_(plan.packing.m),
        packed_v_(plan.packing.v),
        shared_(plan.packing.shared),
        tables_{pieces_.data(),
                values_.data(),
                groups_.data(),
                tensor_pieces_.data(),
                std::int64_t(piece_count_),
                std::int64_t(plan.values.size()),
                partials_.data(),
                piece_squares_.data(),
                norm_parts_.data(),
                group_means_.data(),
                piece_moved_.data()} {
    check(cudaMemset(outcome_.data(), 0, host_outcome_.size()), "memset");
    // The tables went by the default stream, behind which another one is not ordered.
    check(cudaStreamSynchronize(nullptr), "tables");
  }

  FlatReport step(const FlatRule& rule, const FlatBuffers& x, double clip_norm) override {
    require_aligned(x);
    if (piece_count_ == 0) return {0.0, 1.0f, std::vector<double>(tensor_count_, 0.0)};
    launch(squares, piece_count_, tables_, x.g);
    launch(norm_parts, norm_part_count_, tables_, clip_norm, outcome());
    unpack_runs(shared_, 0, x.v);
    launch_moments(rule, x);
    if (windows_.empty()) launch_update(rule, x, tables_, piece_count_);
    for (std::size_t window = 0; window < windows_.size(); ++window) step_window(rule, x, window);
    pack_runs(shared_, 0, x.v, x.seeds);
    launch(totals, tensor_count_, tables_, moved());
    return read_report();
  }

 private:
  Outcome* outcome() const { return reinterpret_cast<Outcome*>(outcome_.data()); }
  double* moved() const { return reinterpret_cast<double*>(outcome_.data() + sizeof(Outcome)); }

  static void require_aligned(const FlatBuffers& x) {
    const auto is_aligned = [](const void* p) {
      return reinterpret_cast<std::uintptr_t>(p) % sizeof(float4) == 0;
    };
    const bool copies_aligned = reinterpret_cast<std::uintptr_t>(x.copies) % sizeof(ushort4) == 0;
    if (!is_aligned(x.w) || !is_aligned(x.g) || !is_aligned(x.m) || !is_aligned(x.v) ||
        !copies_aligned) {
      throw std::invalid_argument("a flat buffer is not 16-byte aligned");
    }
  }

  template <typename... Parameters, typename... Arguments>
  void launch(void (*kernel)(Parameters...), std::size_t blocks, Arguments... arguments) {
    cudaLaunchConfig_t config = {};
    config.gridDim = dim3(unsigned(blocks));
    config.blockDim = dim3(kThreads);
    config.stream = stream_;
    check(cudaLaunchKernelEx(&config, kernel, Parameters(arguments)...), "launch");
  }

  void launch_moments(const FlatRule& rule, const FlatBuffers& x) {
    if (rule.kind != FlatRule::Kind::adam || tables_.value_count == 0) return;
    launch(moments, std::size_t(tables_.value_count + kWarps - 1) / kWarps, tables_, rule.adam, x.v,
           outcome());
    if (group_count_ > 0) launch(group_means, group_count_, tables_, x.v, outcome());
  }

  void step_window(const FlatRule& rule, const FlatBuffers& x, std::size_t number) {
    const auto& window = windows_[number];
    FlatBuffers buffers = x;
    unpack_window(packed_w_, number, buffers.w);
    unpack_window(packed_m_, number, buffers.m);
    unpack_window(packed_v_, number, buffers.v);
    auto tables = tables_;
    tables.pieces += window.first_piece;
    tables.piece_moved += window.first_piece;
    launch_update(rule, buffers, tables, std::size_t(window.last_piece - window.first_piece));
    pack_runs(packed_w_, number, buffers.w, x.seeds);
    pack_runs(packed_m_, number, buffers.m, x.seeds);
    pack_runs(packed_v_, number, buffers.v, x.seeds);
  }

  // Memory becomes where the flat buffer would begin.
  void unpack_window(const DevicePacking& packing, std::size_t window, float*& memory) {
    if (packing.is_packed()) memory = DevicePacking::base(memory, windows_[window]);
    unpack_runs(packing, window, memory);
  }

  // x: where element 0 of the flat buffer would be.
  void unpack_runs(const DevicePacking& packing, std::size_t window, float* x) {
    if (!packing.is_packed()) return;
    with_format(packing.format().kind, [&](auto format) {
      launch(unpack<decltype(format)>, packing.count(window), packing.runs(window),
             packing.format(), x);
    });
  }

  void pack_runs(const DevicePacking& packing, std::size_t window, const float* x,
                 const std::uint64_t* seeds) {
    if (!packing.is_packed()) return;
    with_format(packing.format().kind, [&](auto format) {
      launch(pack<decltype(format)>, packing.count(window), packing.runs(window), packing.format(),
             x, seeds, outcome());
    });
  }

  template <class Rule>
  void launch_rule(const Rule& rule, const FlatBuffers& x, const Tables& tables,
                   std::size_t pieces) {
    x.copies == nullptr ? launch(update<Rule, false>, pieces, tables, rule, x, outcome())
                        : launch(update<Rule, true>, pieces, tables, rule, x, outcome());
  }

  void launch_update(const FlatRule& rule, const FlatBuffers& x, const Tables& tables,
                     std::size_t pieces) {
    switch (rule.kind) {
      case FlatRule::Kind::adam:
        return launch_rule(AdamRule{rule.adam}, x, tables, pieces);
      case FlatRule::Kind::lion:
        return launch_rule(LionRule{rule.adam}, x, tables, pieces);
      case FlatRule::Kind::momentum:
        return launch_rule(MomentumRule{rule.sgd}, x, tables, pieces);
      case FlatRule::Kind::descent:
        return launch_rule(DescentRule{rule.sgd}, x, tables, pieces);
    }
  }

  FlatReport read_report() {
    check(cudaMemcpyAsync(host_outcome_.data(), outcome_.data(), host_outcome_.size(),
                          cudaMemcpyDeviceToHost, stream_),
          "copy to the host");
    check(cudaStreamSynchronize(stream_), "a step");
    const auto* found = reinterpret_cast<const Outcome*>(host_outcome_.data());
    const auto* moved = reinterpret_cast<const double*>(host_outcome_.data() + sizeof(Outcome));
    return {found->squared_norm, found->gradient_scale, {moved, moved + tensor_count_}};
  }

  cudaStream_t stream_;
  std::size_t piece_count_, group_count_, tensor_count_, norm_part_count_;
  DeviceArray<Piece> pieces_;
  DeviceArray<SharedValue> values_;
  DeviceArray<FactoredGroup> groups_;
  DeviceArray<std::int64_t> tensor_pieces_;
  DeviceArray<double> partials_, piece_squares_, norm_parts_, group_means_, piece_moved_;
  DeviceArray<unsigned char> outcome_;
  std::vector<unsigned char> host_outcome_;
  std::vector<FlatWindow> windows_;
  DevicePacking packed_w_, packed_m_, packed_v_, shared_;
  Tables tables_;
};

}  // namespace

const char* why_no_cuda_stepper() {
  int devices = 0;
  // Without a driver the runtime speaks of an insufficient one.
  const auto error = cudaGetDeviceCount(&devices);
  return error == cudaSuccess && devices > 0 ? "" : "no CUDA device, or no driver for it, is here";
}

std::unique_ptr<FlatStepper> make_cuda_stepper(const FlatPlan& plan, void* stream) {
  if (*why_no_cuda_stepper() != '\0') throw std::runtime_error(why_no_cuda_stepper());
  return std::make_unique<CudaStepper>(plan, static_cast<cudaStream_t>(stream));
}

}  // namespace blockwise::kernels
