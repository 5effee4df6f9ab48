// Products with an operator that outlive the process that made them: work whose products follow
// from each other in one way only goes on where it stopped, with the same bits, whatever it is.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>

#include "core/io/input_file.hpp"
#include "hessian/curvature_operators.hpp"

namespace blockwise {

// Appends every product to a file, and takes those that an earlier process left there instead of
// making them again: the k-th product is taken where its argument is that of then, to the bit.
// What does not fit any more, or was cut off, is made again with all that follows.
//
// Disk: rows x (bytes of an element) per product, up to 2 GiB; what comes behind is not kept. A
// product is read or written once, which is little beside its making. Throws std::runtime_error
// with the file where it cannot be written.
class KeptProducts : public DerivedOperator {
 public:
  // `key`: of which operator, and of which work, the products are; a file with another one is
  // written anew. `taken` is called for each product that is not made. An empty file: keeps none.
  KeptProducts(const LinearOperator& base, std::filesystem::path file, const std::string& key,
               std::function<void()> taken = {});
  void apply(const at::Tensor& x, const at::Tensor& y) const override;
  // The work is done, its products are not needed again.
  void forget() const;

 private:
  std::int64_t end_of(std::int64_t products) const;
  bool take(const at::Tensor& x, const at::Tensor& y) const;
  void open_for_writing() const;
  void keep(const at::Tensor& x, const at::Tensor& y) const;

  std::filesystem::path file_;
  std::string head_;
  std::int64_t bytes_;  // of a product
  std::function<void()> taken_;
  mutable std::int64_t done_ = 0;
  mutable std::optional<InputFile> left_;  // by an earlier process; nothing once it is used up
  mutable bool writing_ = false;
};

}  // namespace blockwise
