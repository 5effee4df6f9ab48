#include "experiments/curvature/kept_products.hpp"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <fstream>
#include <span>
#include <stdexcept>
#include <utility>
#include <vector>

#include "core/base/error.hpp"
#include "core/io/atomic_file.hpp"
#include "core/io/sha256.hpp"

namespace blockwise {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kMostBytes = std::int64_t{1} << 31;
constexpr std::int64_t kSumBytes = sizeof(std::uint64_t);

std::string head_of(const std::string& key) {
  return fmt::format("blockwise-products 1 {}\n", sha256(key).substr(0, 32));
}

std::span<const std::byte> bytes_of(const at::Tensor& host) {
  return {static_cast<const std::byte*>(host.data_ptr()), host.nbytes()};
}

// FNV-1a, over words: tells a torn or foreign record, guards against nobody.
std::uint64_t checksum(std::span<const std::byte> bytes, std::uint64_t sum) {
  for (std::size_t i = 0; i < bytes.size(); i += sizeof(std::uint64_t)) {
    std::uint64_t word = 0;
    std::memcpy(&word, bytes.data() + i, std::min(sizeof(word), bytes.size() - i));
    sum = (sum ^ word) * 1099511628211ULL;
    sum ^= sum >> 29;
  }
  return sum;
}

std::uint64_t checksum(const at::Tensor& x, const at::Tensor& y) {
  return checksum(bytes_of(y), checksum(bytes_of(x), 14695981039346656037ULL));
}

at::Tensor on_host(const at::Tensor& x) { return x.to(at::kCPU).contiguous(); }

bool read_at(const InputFile& file, std::int64_t at, void* out, std::int64_t count) {
  auto* bytes = static_cast<char*>(out);
  while (count > 0) {
    const auto got = ::pread(file.descriptor(), bytes, static_cast<std::size_t>(count), at);
    if (got <= 0) return false;
    bytes += got;
    at += got;
    count -= got;
  }
  return true;
}

}  // namespace

KeptProducts::KeptProducts(const LinearOperator& base, fs::path file, const std::string& key,
                           std::function<void()> taken)
    : DerivedOperator(base),
      file_(std::move(file)),
      head_(head_of(key)),
      bytes_(base.rows() * static_cast<std::int64_t>(base.options().dtype().itemsize())),
      taken_(std::move(taken)) {
  if (file_.empty() || !input_exists(file_)) return;
  left_.emplace(file_);
  std::string head(head_.size(), '\0');
  const bool ours = read_at(*left_, 0, head.data(), std::ssize(head)) && head == head_;
  if (!ours) left_.reset();
}

std::int64_t KeptProducts::end_of(std::int64_t products) const {
  return std::ssize(head_) + products * (kSumBytes + bytes_);
}

void KeptProducts::apply(const at::Tensor& x, const at::Tensor& y) const {
  if (file_.empty()) return base_.apply(x, y);
  if (left_ && !take(x, y)) left_.reset();
  if (!left_) {
    base_.apply(x, y);
    keep(x, y);
  } else if (taken_) {
    taken_();
  }
  ++done_;
}

bool KeptProducts::take(const at::Tensor& x, const at::Tensor& y) const {
  std::uint64_t sum = 0;
  auto product = at::empty({rows()}, options().device(at::kCPU));
  const auto begin = end_of(done_);
  const bool whole = read_at(*left_, begin, &sum, kSumBytes) &&
                     read_at(*left_, begin + kSumBytes, product.data_ptr(), bytes_);
  if (!whole || checksum(on_host(x), product) != sum) return false;
  y.copy_(product);
  return true;
}

// Behind the products that were taken.
void KeptProducts::open_for_writing() const {
  if (std::exchange(writing_, true)) return;
  if (done_ == 0) {
    write_file_atomically(file_, head_);
  } else {
    fs::resize_file(file_, static_cast<std::uintmax_t>(end_of(done_)));
  }
}

void KeptProducts::keep(const at::Tensor& x, const at::Tensor& y) const {
  if (end_of(done_ + 1) > kMostBytes) return;
  open_for_writing();
  const auto product = on_host(y);
  const auto sum = checksum(on_host(x), product);
  std::ofstream file(file_, std::ios::app | std::ios::binary);
  file.write(reinterpret_cast<const char*>(&sum), kSumBytes);
  file.write(static_cast<const char*>(product.data_ptr()), bytes_);
  file.close();
  if (!file) throw std::runtime_error(fmt::format("{}: cannot be written", file_.string()));
}

void KeptProducts::forget() const {
  if (!file_.empty()) fs::remove(file_);
}

}  // namespace blockwise
