// Value semantics for a polymorphic option struct: copying clones.
#pragma once

#include <memory>

namespace blockwise {

// T has `std::unique_ptr<T> clone() const`. Empty by default.
template <typename T>
class ClonePtr {
 public:
  ClonePtr() = default;
  ClonePtr(std::unique_ptr<T> pointer) : pointer_(std::move(pointer)) {}  // NOLINT: a plain wrapper
  ClonePtr(const ClonePtr& other) : pointer_(other.pointer_ ? other.pointer_->clone() : nullptr) {}
  ClonePtr(ClonePtr&&) noexcept = default;
  ClonePtr& operator=(ClonePtr other) noexcept {
    pointer_ = std::move(other.pointer_);
    return *this;
  }
  T* operator->() const { return pointer_.get(); }
  T& operator*() const { return *pointer_; }
  explicit operator bool() const { return pointer_ != nullptr; }

 private:
  std::unique_ptr<T> pointer_;
};

}  // namespace blockwise
