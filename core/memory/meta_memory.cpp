#include "core/memory/meta_memory.hpp"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/record_function.h>
#include <c10/core/Allocator.h>
#include <c10/util/Exception.h>
#include <c10/util/ThreadLocalDebugInfo.h>
#include <fmt/format.h>
#include <torch/library.h>

#include <algorithm>
#include <limits>
#include <string_view>

#include "core/memory/product_scratch.hpp"

#include "core/base/checked_math.hpp"
#include "core/base/dense_product.hpp"

namespace blockwise {

// Counts the meta device's blocks, and what is allocated on the CPU meanwhile: the few tensors that
// are real in a rehearsal too, such as the state of a dropout generator.
struct MetaMemory::Counter : public c10::MemoryReportingInfoBase {
  std::int64_t now = 0;
  std::int64_t peak = 0;
  std::int64_t in_files_from = std::numeric_limits<std::int64_t>::max();
  std::int64_t in_files = 0;
  std::int64_t peak_in_files = 0;
  ProductScratch products;

  void add(std::int64_t bytes) {
    now += bytes;
    peak = std::max(peak, now);
  }
  void reportMemoryUsage(void*, std::int64_t bytes, std::size_t, std::size_t,
                         c10::Device device) override {
    if (device.is_cpu()) add(bytes);
  }
  bool memoryProfilingEnabled() const override { return true; }
};

// While alive the counter sees the thread's allocations on the CPU and, of every matrix product,
// the scratch that it would take there.
struct MetaMemory::Guard {
  struct Scratch : public at::ObserverContext {
    explicit Scratch(std::int64_t bytes_) : bytes(bytes_) {}
    std::int64_t bytes;
  };

  explicit Guard(std::shared_ptr<Counter> counter)
      : slot(c10::DebugInfoKind::PROFILER_STATE, std::move(counter)),
        observer(at::addThreadLocalCallback(at::RecordFunctionCallback(&begin, &end)
                                                .needsInputs(true)
                                                .scopes({at::RecordScope::FUNCTION}))) {}
  ~Guard() { at::removeCallback(observer); }
  Guard(const Guard&) = delete;
  Guard& operator=(const Guard&) = delete;

  // Nothing where another counter has the slot: a product that is done to be measured.
  static Counter* counter() {
    return dynamic_cast<Counter*>(
        c10::ThreadLocalDebugInfo::get(c10::DebugInfoKind::PROFILER_STATE));
  }

  static std::unique_ptr<at::ObserverContext> begin(const at::RecordFunction& operation) {
    const std::string_view name = operation.name();
    if (name == kDenseProduct) return begin_dense(operation);
    const std::size_t first = name == "aten::mm" ? 0 : 1;  // addmm: behind what is added
    if (first == 1 && name != "aten::addmm" && name != "aten::addmm_") return nullptr;
    const auto inputs = operation.inputs();
    auto* const now = counter();
    if (now == nullptr || inputs.size() < first + 2) return nullptr;
    const auto& a = inputs[first].toTensor();
    const auto& b = inputs[first + 1].toTensor();
    if (!a.is_meta()) return nullptr;
    return std::make_unique<Scratch>(now->products.bytes(a, b));
  }

  static std::unique_ptr<at::ObserverContext> begin_dense(const at::RecordFunction& operation) {
    const auto inputs = operation.inputs();
    auto* const now = counter();
    if (now == nullptr || inputs.size() < 2) return nullptr;
    return std::make_unique<Scratch>(
        now->products.bytes_of_dense(inputs[0].toTensor(), inputs[1].toTensor()));
  }

  // The result is there, the scratch not yet gone.
  static void end(const at::RecordFunction&, at::ObserverContext* context) {
    const auto* scratch = static_cast<Scratch*>(context);
    auto* const now = counter();
    if (scratch == nullptr || now == nullptr) return;
    now->add(scratch->bytes);
    now->add(-scratch->bytes);
  }

  c10::DebugInfoGuard slot;
  at::CallbackHandle observer;
};

namespace {

// One block: takes its bytes back when its storage goes.
struct Block {
  std::shared_ptr<void> counter;
  std::int64_t* now;
  std::int64_t bytes;
};

void release(void* context) {
  auto* block = static_cast<Block*>(context);
  *block->now -= block->bytes;
  delete block;
}

}  // namespace

class MetaMemory::CountingAllocator : public c10::Allocator {
 public:
  explicit CountingAllocator(std::shared_ptr<Counter> counter) : counter_(std::move(counter)) {}

  c10::DataPtr allocate(std::size_t bytes) override {
    const auto size = static_cast<std::int64_t>(bytes);
    // Throws where the sizes of a configuration are beyond what can be counted.
    checked_sum("bytes of the step", std::max<std::int64_t>(0, counter_->now), size);
    const bool in_file = size >= counter_->in_files_from;
    if (in_file) {
      counter_->in_files += size;
      counter_->peak_in_files = std::max(counter_->peak_in_files, counter_->in_files);
    } else {
      counter_->add(size);
    }
    auto* block = new Block{counter_, in_file ? &counter_->in_files : &counter_->now, size};
    return {nullptr, block, &release, c10::Device(c10::DeviceType::Meta)};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &release; }
  void copy_data(void*, const void*, std::size_t) const override {}

 private:
  std::shared_ptr<Counter> counter_;
};

MetaMemory::MetaMemory()
    : counter_(std::make_shared<Counter>()),
      allocator_(std::make_unique<CountingAllocator>(counter_)),
      guard_(std::make_unique<Guard>(counter_)),
      before_(c10::GetAllocator(c10::DeviceType::Meta)) {
  c10::SetAllocator(c10::DeviceType::Meta, allocator_.get());
}

MetaMemory::~MetaMemory() { c10::SetAllocator(c10::DeviceType::Meta, before_); }

std::int64_t MetaMemory::allocated() const { return counter_->now; }
std::int64_t MetaMemory::peak() const { return counter_->peak; }
void MetaMemory::reset_peak() { counter_->peak = counter_->now; }
void MetaMemory::put_in_files(std::int64_t from_bytes) { counter_->in_files_from = from_bytes; }
std::int64_t MetaMemory::allocated_in_files() const { return counter_->in_files; }
std::int64_t MetaMemory::peak_in_files() const { return counter_->peak_in_files; }

// ---- kernels -----------------------------------------------------------------------------------

namespace {

using Triple = std::tuple<at::Tensor, at::Tensor, at::Tensor>;

// Statistics are float32 for bfloat16 activations, [.., 1].
Triple layer_norm(const at::Tensor& x, c10::SymIntArrayRef shape,
                  const std::optional<at::Tensor>& weight, const std::optional<at::Tensor>&,
                  double) {
  auto sizes = x.sizes().vec();
  for (std::size_t i = 0; i < shape.size(); ++i) sizes[sizes.size() - 1 - i] = 1;
  const auto type = weight && weight->defined() ? weight->scalar_type() : x.scalar_type();
  const auto statistics = x.options().dtype(type);
  return {at::empty_like(x), at::empty(sizes, statistics), at::empty(sizes, statistics)};
}

Triple layer_norm_backward(const at::Tensor& slope, const at::Tensor& x, c10::SymIntArrayRef,
                           const at::Tensor&, const at::Tensor&,
                           const std::optional<at::Tensor>& weight,
                           const std::optional<at::Tensor>& bias, std::array<bool, 3> wanted) {
  Triple result;
  if (wanted[0]) std::get<0>(result) = at::empty_like(x);
  if (wanted[1]) std::get<1>(result) = at::empty_like(*weight);
  if (wanted[2]) std::get<2>(result) = at::empty_like(bias && bias->defined() ? *bias : *weight);
  // Each thread's sums for gain and bias.
  at::empty({2, at::get_num_threads(), x.size(-1)}, slope.options());
  return result;
}

at::Tensor relu(const at::Tensor& x) { return at::empty_like(x); }

at::Tensor& absolute(const at::Tensor& x, at::Tensor& out) {
  out.resize_(x.sizes());
  return out;
}

at::Tensor embedding(const at::Tensor& weight, const at::Tensor& indices, c10::SymInt, bool, bool) {
  auto sizes = indices.sizes().vec();
  sizes.push_back(weight.size(1));
  return at::empty(sizes, weight.options());
}

at::Tensor index_select(const at::Tensor& x, std::int64_t dim, const at::Tensor& index) {
  auto sizes = x.sizes().vec();
  sizes[static_cast<std::size_t>(dim < 0 ? dim + x.dim() : dim)] = index.numel();
  return at::empty(sizes, x.options());
}

at::Tensor embedding_dense_backward(const at::Tensor& slope, const at::Tensor&,
                                    c10::SymInt num_weights, c10::SymInt, bool) {
  return at::empty({num_weights.expect_int(), slope.size(-1)}, slope.options());
}

// Rows of q and columns of k that a thread handles at a time.
std::int64_t attention_rows(std::int64_t length) {
  return length >= 768 ? 256 : length >= 192 ? 64 : 32;
}
constexpr std::int64_t kAttentionColumns = 512;

// What the forward kernel holds beside its result: per thread sums and, in bfloat16, a row of
// probabilities. (Where the CPU multiplies bfloat16 it packs keys and values too; whole sequences
// in that type go another way, models/blocked_attention.hpp.)
std::vector<at::Tensor> attention_scratch(const at::Tensor& q, const at::Tensor& k) {
  const auto threads = at::get_num_threads();
  const auto rows = std::min(attention_rows(q.size(2)), q.size(2));
  const auto columns = std::min(kAttentionColumns, k.size(2));
  std::vector<at::Tensor> scratch = {
      at::empty({threads, rows * (columns + 2 + q.size(3))}, q.options().dtype(at::kFloat))};
  if (q.scalar_type() == at::kBFloat16) {
    scratch.push_back(at::empty({threads, rows, columns}, q.options()));
  }
  return scratch;
}

std::tuple<at::Tensor, at::Tensor> attention(const at::Tensor& q, const at::Tensor& k,
                                             const at::Tensor&, double, bool,
                                             const std::optional<at::Tensor>&,
                                             std::optional<double>) {
  const auto sums = q.options().dtype(at::kFloat);
  const auto scratch = attention_scratch(q, k);
  // Laid out like the queries. Where those are contiguous, as after a normalization of them, the
  // heads are copied when they are merged; where they are a view of [B, T, H, D], they are not.
  const auto y = at::empty_like(q);
  return {y, at::empty({q.size(0), q.size(2), q.size(1)}, sums).transpose(1, 2)};
}

Triple attention_backward(const at::Tensor&, const at::Tensor& q, const at::Tensor& k,
                          const at::Tensor& v, const at::Tensor&, const at::Tensor&, double, bool,
                          const std::optional<at::Tensor>&, std::optional<double>) {
  const auto sums = q.options().dtype(at::kFloat);
  const auto rows = std::min(attention_rows(q.size(2)), q.size(2));
  const auto columns = std::min(kAttentionColumns, k.size(2));
  const auto scratch = at::empty({at::get_num_threads(), 2 * rows * columns + rows}, sums);
  const auto like = [](const at::Tensor& x) {
    return at::empty({x.size(0), x.size(2), x.size(1), x.size(3)}, x.options()).transpose(1, 2);
  };
  return {like(q), like(k), like(v)};
}

TORCH_LIBRARY_IMPL(aten, Meta, m) {
  m.impl("native_layer_norm", layer_norm);
  m.impl("native_layer_norm_backward", layer_norm_backward);
  m.impl("relu", relu);
  m.impl("abs.out", absolute);
  m.impl("embedding", embedding);
  m.impl("index_select", index_select);
  m.impl("embedding_dense_backward", embedding_dense_backward);
  m.impl("_scaled_dot_product_flash_attention_for_cpu", attention);
  m.impl("_scaled_dot_product_flash_attention_for_cpu_backward", attention_backward);
}

// "aten::abs.out" of LibTorch's message, or the message's first line.
std::string operator_of(const std::string& message) {
  const auto begin = message.find("aten::");
  if (begin == std::string::npos) return message.substr(0, message.find('\n'));
  const auto end = message.find_first_not_of(
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_:.", begin);
  auto name = message.substr(begin, end == std::string::npos ? end : end - begin);
  while (!name.empty() && (name.back() == '.' || name.back() == ':')) name.pop_back();
  return name;
}

bool is_about_meta(const std::string& message) {
  return message.find("Meta") != std::string::npos || message.find("meta ") != std::string::npos;
}

}  // namespace

std::string rehearse(const std::function<void()>& rehearsal) {
  try {
    rehearsal();
  } catch (const c10::Error& error) {
    const std::string message = error.what_without_backtrace();
    if (!is_about_meta(message)) throw;
    return fmt::format(
        "memory cannot be rehearsed: LibTorch has no meta kernel for {}; only what lasts is "
        "counted",
        operator_of(message));
  }
  return "";
}

}  // namespace blockwise
