// Causal attention of the query heads that share a key and a value head, and its gradients.
#pragma once

#include <cstdint>

namespace blockwise {

// Position t of head h is the `width` adjacent numbers from data + h * head + t * row on.
template <typename T>
struct HeadRows {
  T* data;
  std::int64_t head, row;
};

// `heads` queries' heads to one head of keys and values; width at most 256 is what it is made for.
// Query i sees the keys max(0, i - window + 1) to i; window >= 1, from `length` on it hides
// nothing.
struct AttentionSizes {
  std::int64_t heads, length, width, window;
};

// T is float, or std::uint16_t for the bits of bfloat16.
template <typename T>
struct AttentionForward {
  HeadRows<const T> q, k, v;
  HeadRows<T> out;
  float* log_sums;  // [heads, length]
};

template <typename T>
struct AttentionBackward {
  HeadRows<const T> q, k, v, out, slope;  // slope: dL/d out
  const float* log_sums;
  HeadRows<T> dq, dk, dv;
};

// float32 numbers that a call needs beside its operands: about 2 length width forward, 5 backward,
// and some 0.1 MB. Scratch is aligned to 64 bytes.
std::int64_t attention_forward_scratch(const AttentionSizes& sizes);
std::int64_t attention_backward_scratch(const AttentionSizes& sizes);

// s_ij = q_i k_j / sqrt(width),  log_sum_i = log sum_j exp s_ij,  p_ij = exp(s_ij - log_sum_i),
// out_i = sum_j p_ij v_j over the keys that i sees (Dao et al., arXiv 2205.14135, by blocks).
// Everything between loads and stores is float32; exp is right to 2 ULP. A NaN or an infinity in
// q_i, or in k_j or v_j, makes NaN of out_i, or of every out_i that sees j, and of no other.
void attention_forward(const AttentionForward<float>& task, const AttentionSizes& sizes,
                       float* scratch);
void attention_forward(const AttentionForward<std::uint16_t>& task, const AttentionSizes& sizes,
                       float* scratch);

// With d = dL/d out and  ds_ij = p_ij (d_i v_j - d_i out_i):
//   dv_j = sum_i p_ij d_i,   dk_j = sum_i ds_ij q_i / sqrt(width),
//   dq_i = sum_j ds_ij k_j / sqrt(width);   dk and dv summed over the heads too.
// p is computed again from log_sums, so 5 products of the size of forward's 2.
void attention_backward(const AttentionBackward<float>& task, const AttentionSizes& sizes,
                        float* scratch);
void attention_backward(const AttentionBackward<std::uint16_t>& task, const AttentionSizes& sizes,
                        float* scratch);

}  // namespace blockwise
