#include "core/models/blocked_attention.hpp"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/record_function.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>

#include "core/base/error.hpp"
#include "core/kernels/causal_attention.hpp"

namespace blockwise {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Variable;
using torch::autograd::variable_list;

constexpr std::int64_t kWidest = 256;

// The kernel takes any strides but within a head's vector.
at::Tensor with_dense_vectors(const at::Tensor& x) {
  return x.stride(3) == 1 || x.size(3) == 1 ? x : x.contiguous();
}

// [B, heads, T, D], dense as [B, T, heads, D].
at::Tensor empty_heads(const at::Tensor& like) {
  return at::empty({like.size(0), like.size(2), like.size(1), like.size(3)}, like.options())
      .transpose(1, 2);
}

AttentionSizes sizes_of(const at::Tensor& q, const at::Tensor& k, std::int64_t window) {
  const auto length = q.size(2);
  return {q.size(1) / k.size(1), length, q.size(3), window > 0 ? std::min(window, length) : length};
}

// One part for each thread that gets a task.
at::Tensor make_scratch(const at::Tensor& k, std::int64_t floats) {
  const auto tasks = k.size(0) * k.size(1);
  return at::empty({std::min<std::int64_t>(at::get_num_threads(), tasks), floats},
                   k.options().dtype(at::kFloat));
}

// Calls body(batch, head of keys, the thread's scratch) for each task.
template <typename Body>
void for_each_task(const at::Tensor& k, const at::Tensor& scratch, const Body& body) {
  const auto heads = k.size(1), floats = scratch.size(1);
  auto* parts = scratch.mutable_data_ptr<float>();
  at::parallel_for(0, k.size(0) * heads, 1, [&](std::int64_t begin, std::int64_t end) {
    auto* part = parts + at::get_thread_num() * floats;
    for (auto i = begin; i < end; ++i) body(i / heads, i % heads, part);
  });
}

// The heads from `head` on of one batch: T is the tensor's type, Bits the kernel's.
template <typename T, typename Bits>
HeadRows<const Bits> read_rows(const at::Tensor& x, std::int64_t batch, std::int64_t head) {
  const auto* data = x.const_data_ptr<T>() + batch * x.stride(0) + head * x.stride(1);
  return {reinterpret_cast<const Bits*>(data), x.stride(1), x.stride(2)};
}

template <typename T, typename Bits>
HeadRows<Bits> write_rows(const at::Tensor& x, std::int64_t batch, std::int64_t head) {
  auto* data = x.mutable_data_ptr<T>() + batch * x.stride(0) + head * x.stride(1);
  return {reinterpret_cast<Bits*>(data), x.stride(1), x.stride(2)};
}

struct Operands {
  at::Tensor q, k, v, out, log_sums;
};
struct Slopes {
  at::Tensor out, q, k, v;
};

// LibTorch's profilers follow operations by their names.
constexpr c10::ArrayRef<const c10::IValue> kNoInputs;

template <typename T, typename Bits = T>
void run_forward(const Operands& x, const AttentionSizes& sizes, const at::Tensor& scratch) {
  RECORD_FUNCTION("blockwise::attention", kNoInputs);
  auto* log_sums = x.log_sums.mutable_data_ptr<float>();
  for_each_task(x.k, scratch, [&](std::int64_t batch, std::int64_t head, float* part) {
    const auto first = head * sizes.heads;
    const AttentionForward<Bits> task = {
        read_rows<T, Bits>(x.q, batch, first), read_rows<T, Bits>(x.k, batch, head),
        read_rows<T, Bits>(x.v, batch, head), write_rows<T, Bits>(x.out, batch, first),
        log_sums + (batch * x.q.size(1) + first) * sizes.length};
    attention_forward(task, sizes, part);
  });
}

template <typename T, typename Bits = T>
void run_backward(const Operands& x, const Slopes& slope, const AttentionSizes& sizes,
                  const at::Tensor& scratch) {
  RECORD_FUNCTION("blockwise::attention_backward", kNoInputs);
  const auto* log_sums = x.log_sums.const_data_ptr<float>();
  for_each_task(x.k, scratch, [&](std::int64_t batch, std::int64_t head, float* part) {
    const auto first = head * sizes.heads;
    const AttentionBackward<Bits> task = {read_rows<T, Bits>(x.q, batch, first),
                                          read_rows<T, Bits>(x.k, batch, head),
                                          read_rows<T, Bits>(x.v, batch, head),
                                          read_rows<T, Bits>(x.out, batch, first),
                                          read_rows<T, Bits>(slope.out, batch, first),
                                          log_sums + (batch * x.q.size(1) + first) * sizes.length,
                                          write_rows<T, Bits>(slope.q, batch, first),
                                          write_rows<T, Bits>(slope.k, batch, head),
                                          write_rows<T, Bits>(slope.v, batch, head)};
    attention_backward(task, sizes, part);
  });
}

class BlockedAttention : public torch::autograd::Function<BlockedAttention> {
 public:
  static Variable forward(AutogradContext* context, const Variable& q, const Variable& k,
                          const Variable& v, std::int64_t window) {
    const Operands x = {
        with_dense_vectors(q), with_dense_vectors(k), with_dense_vectors(v), empty_heads(q),
        at::empty({q.size(0), q.size(1), q.size(2)}, q.options().dtype(at::kFloat))};
    const auto sizes = sizes_of(q, k, window);
    const auto scratch = make_scratch(k, attention_forward_scratch(sizes));
    if (q.is_cpu() && q.scalar_type() == at::kFloat) {
      run_forward<float>(x, sizes, scratch);
    } else if (q.is_cpu()) {
      run_forward<at::BFloat16, std::uint16_t>(x, sizes, scratch);
    }
    context->save_for_backward({x.q, x.k, x.v, x.out, x.log_sums});
    context->saved_data["window"] = window;
    return x.out;
  }

  static variable_list backward(AutogradContext* context, variable_list outputs) {
    if (at::GradMode::is_enabled()) {
      throw InvariantError(
          "attention was differentiated twice: compute Hessians with twice_differentiable");
    }
    const auto saved = context->get_saved_variables();
    const Operands x = {saved[0], saved[1], saved[2], saved[3], saved[4]};
    const Slopes slope = {with_dense_vectors(outputs[0]), empty_heads(x.q), empty_heads(x.k),
                          empty_heads(x.v)};
    const auto sizes = sizes_of(x.q, x.k, context->saved_data["window"].toInt());
    const auto scratch = make_scratch(x.k, attention_backward_scratch(sizes));
    if (x.q.is_cpu() && x.q.scalar_type() == at::kFloat) {
      run_backward<float>(x, slope, sizes, scratch);
    } else if (x.q.is_cpu()) {
      run_backward<at::BFloat16, std::uint16_t>(x, slope, sizes, scratch);
    }
    return {slope.q, slope.k, slope.v, Variable()};
  }
};

}  // namespace

bool can_block_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) {
  const auto type = q.scalar_type();
  return (q.is_cpu() || q.is_meta()) && (type == at::kFloat || type == at::kBFloat16) &&
         k.scalar_type() == type && v.scalar_type() == type && q.size(2) == k.size(2) &&
         q.size(3) <= kWidest;
}

at::Tensor blocked_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                             std::int64_t window) {
  check_equal(q.size(1) % k.size(1), 0, "heads of queries beyond those of keys");
  return BlockedAttention::apply(q, k, v, window);
}

}  // namespace blockwise
