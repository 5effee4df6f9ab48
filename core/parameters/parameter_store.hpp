// ParameterStore: a model's parameters and gradients as two flat buffers and the tensors that are
// views into them. LibTorch's autograd accumulates in place into a .grad that is already set, so
// the gradient buffer stays the one place that optimizers, products, checkpoints and sharding read.
//
// In mixed precision the flat parameters are the masters: the model computes with bfloat16 copies
// of most tensors, gradients are accumulated in the masters' dtype (LibTorch's grad_dtype), and
// publish() carries an update over. Masters may be kept in fewer bytes (master_weights.hpp): then
// there are no flat parameters, and a master is float32 only while it is updated. What is kept
// beside the weights may be in a file (paged_file.hpp).
//
// Of a model that several processes share, each may keep the masters of a part alone (ZeRO-1:
// Rajbhandari et al., arXiv 1910.02054, section 5.1). What the model computes with is then in
// buffers of its own, all of it or, of layers on demand, only between open_layer() and
// close_layer() (ZeRO-3, section 5.3).
#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/memory/paged_file.hpp"
#include "core/parameters/element_range.hpp"
#include "core/parameters/master_weights.hpp"
#include "core/parameters/parameter_layout.hpp"
#include "core/parameters/weight_buffer.hpp"

namespace blockwise {

// Tensors of the roles in `keep` and those named in `keep_tensors` are computed with as they are,
// all others as bfloat16 copies.
struct MixedPrecision {
  std::vector<ParameterRole> keep;
  std::vector<std::string> keep_tensors = {};
  MasterWeights masters = MasterWeights::fp32;  // of what has a copy
  Paging paging = {};                           // of what is beside split weights
  // Of fp32 masters: copies in one buffer with places for all elements, also of what has none, for
  // steps over all tensors at once.
  bool flat_copies = false;
};

// The part of a model whose masters are here, not split: of each of its weight_units() one range.
struct OwnMasters {
  std::vector<ElementRange> ranges;   // of the flat buffer; may be empty ones
  std::int64_t layers_on_demand = 0;  // layers below it, of which each is a unit
  std::int64_t size() const;
};

// Kept: in one flat buffer, where micro-batches add up. Released: no buffer at all; the backward
// pass hands them out one tensor at a time, see gradient_release.hpp.
enum class Gradients { kept, released };

class ParameterStore {
 public:
  // Both buffers are zero at first. Cost: 2 * layout.size() elements of the given dtype, half of it
  // where gradients are released, and 2 bytes for each element that has a copy, whose master takes
  // what its format says; split masters take float32 memory for the largest tensor, too. Throws
  // InputError for a tensor that is kept by a name which the layout does not have, for split
  // masters on a CUDA device in a build without its compiler, where there is less memory on the CPU
  // than that, before any of it is taken, for paging on a CUDA device or of masters that have
  // nothing beside the weight, and what PagedFile throws.
  // With own masters: those, and instead of copies all that the model computes with; of layers on
  // demand nothing before they are opened.
  ParameterStore(ParameterLayout layout, at::Device device, at::ScalarType dtype = at::kFloat,
                 const std::optional<MixedPrecision>& mixed = std::nullopt,
                 Gradients gradients = Gradients::kept, std::optional<OwnMasters> own = {});

  // Rows of a whole model's masters and gradients, which are kept and not split, cut into the
  // layout's tensors: consecutive elements from `begin` on; or all of its own masters, of which
  // `begin` is the first where gradients are kept. A view without memory of its own; the model
  // computes with what the whole store publishes.
  ParameterStore(const ParameterStore& whole, ParameterLayout layout, std::int64_t begin);

  const ParameterLayout& layout() const { return layout_; }
  at::Device device() const { return device_; }
  // [n] flat buffers; writing them writes the model. The first is not there where masters are
  // split.
  const at::Tensor& parameters() const;
  // bfloat16 [n], of which the parameters' copies are views; undefined unless they are flat_copies.
  const at::Tensor& flat_copies() const { return flat_copies_; }
  // Type and device of masters and gradients.
  at::TensorOptions master_options() const;
  const at::Tensor& gradients() const { return gradients_; }  // undefined where released
  bool releases_gradients() const { return !gradients_.defined(); }
  std::int64_t gradient_bytes() const;
  // Leaf tensors that require gradients, in the layout's order and shapes.
  const std::vector<at::Tensor>& tensors() const { return tensors_; }
  const at::Tensor& tensor(std::string_view name) const { return tensors_[layout_.index_of(name)]; }
  // The value of a master in the parameter's shape, without autograd: a view of the flat buffer,
  // or, of a split one, a copy. InvariantError where some masters are kept elsewhere.
  at::Tensor master(std::size_t parameter) const;
  bool has_all_masters() const { return !own_; }
  // Where they are: of the parameter's elements those whose masters are here, flat; may be empty.
  struct MasterPiece {
    at::Tensor values;
    std::int64_t begin = 0;  // in the parameter
  };
  MasterPiece own_piece(std::size_t parameter) const;
  // Where masters are kept by several processes: everything that the model computes with, by weight
  // units. publish() writes what is owned here.
  const std::vector<WeightBuffer>& weight_buffers() const { return buffers_; }
  // Layers whose weights are not there until they are opened, which takes their memory and
  // publishes what is owned here, and the number of their buffer. A graph that has saved these
  // tensors does not notice, as long as they are there when it reads them.
  std::int64_t layers_on_demand() const { return own_ ? own_->layers_on_demand : 0; }
  std::size_t buffer_of_layer(std::size_t layer) const { return buffer_of_layer_[layer]; }
  void open_layer(std::size_t layer);
  void close_layer(std::size_t layer);
  // Takes a value of any dtype and carries it over to what the model computes with. Splitting
  // rounds to the nearest.
  void set_master(std::size_t parameter, const at::Tensor& value);
  // A master to be updated in place, until publish() of the same parameter: the view, or, of a
  // split one, memory that all parameters share.
  at::Tensor open_master(std::size_t parameter);
  // Carries masters over to what the model computes with; nothing to do without mixed precision,
  // and of layers on demand, which are published as they are opened. seed: of stochastic rounding,
  // another one at every step.
  void publish(std::size_t parameter, std::uint64_t seed = 0);
  bool splits_masters() const { return !parameters_.defined(); }
  // Null for a master that is float32.
  const SplitMaster* split(std::size_t parameter) const {
    return is_split(parameter) ? &splits_[parameter] : nullptr;
  }
  MasterWeights master_format() const { return format_; }
  // View of a flat buffer in the parameter's shape; only of gradients that are kept.
  const at::Tensor& gradient(std::size_t parameter) const { return gradient_views_[parameter]; }
  // Bytes of what the model computes with, of layers on demand the most that two neighbours take,
  // and of what is kept for masters beside it: in memory, and in a file alone.
  std::int64_t compute_bytes() const;
  std::int64_t master_bytes() const;
  std::int64_t paged_master_bytes() const;
  // Leaves the memory that may be left.
  void evict() const;
  // Null where nothing is in a file.
  const PagedFile* pages() const { return pages_.get(); }

  // Draws every tensor as its parameter says from the stream `init`, each from a generator of its
  // own, so that adding a tensor does not change the others. Drawn on the CPU: equal on every
  // device.
  void initialize(std::uint64_t seed);
  void zero_gradients();
  // Throws InvariantError when a .grad was replaced and the flat buffer no longer holds it, or is
  // left where gradients are released.
  void check_gradient_views() const;

 private:
  at::Tensor view(const at::Tensor& flat, std::size_t parameter) const;
  bool has_copy(std::size_t parameter) const;
  bool is_on_demand(std::size_t parameter) const {
    return own_ && buffers_[unit_of_[parameter]].unit().layer >= 0;
  }
  bool is_split(std::size_t parameter) const {
    return !splits_.empty() && !masters_[parameter].defined();
  }
  void make_own_masters(const std::vector<bool>& kept, const at::TensorOptions& options);
  void publish_own(std::size_t parameter);
  void make_masters(const std::vector<bool>& kept, bool flat, const at::TensorOptions& options);
  void make_split_masters(const std::vector<bool>& kept, const at::TensorOptions& options);
  at::Tensor make_residuals(const std::vector<bool>& kept, std::int64_t size,
                            const at::TensorOptions& options);
  std::int64_t residual_bytes() const;
  void make_tensor(std::size_t parameter, const at::TensorOptions& options);

  ParameterLayout layout_;
  at::Device device_;
  MasterWeights format_ = MasterWeights::fp32;
  Paging paging_;
  std::shared_ptr<PagedFile> pages_;  // before what is in it
  at::Tensor parameters_;
  at::Tensor gradients_;
  at::Tensor flat_copies_;
  std::optional<OwnMasters> own_;             // then parameters_ is these elements
  std::vector<WeightBuffer> buffers_;         // then: of each unit
  std::vector<std::size_t> unit_of_;          // then: of each parameter
  std::vector<std::size_t> buffer_of_layer_;  // of those on demand
  std::vector<at::Tensor> masters_;           // undefined where split, or where some are elsewhere
  std::vector<SplitMaster> splits_;  // whose weights are tensors_; empty where nothing is split
  at::Tensor opened_;                // float32, of the largest that is split
  std::vector<at::Tensor> gradient_views_;
  std::vector<at::Tensor> tensors_;
};

}  // namespace blockwise
