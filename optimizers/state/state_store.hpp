// StateStore: the state of all parameters. Tensors of one name and type lie one behind the other in
// one buffer, in the layout's order, so that a kernel can run over all of them at once and counting
// bytes is the same for every rule. They are saved and loaded parameter by parameter.
//
// State whose size its rule chooses from the first gradients lies apart, and is empty until then.
// State that parameters have by turns (StateSpec::turn) lies at the end of its buffer, turns one
// over the other; it is saved as a whole, as NAME/*.
//
// State with a codec (state_codec.hpp) is in its buffers in the stored form; coded_steps.hpp
// decodes and encodes it.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/memory/paged_file.hpp"
#include "core/parameters/parameter_layout.hpp"
#include "optimizers/state/state.hpp"
#include "optimizers/state/state_format.hpp"
#include "optimizers/state/state_spec.hpp"

namespace blockwise {

using NamedTensors = std::vector<std::pair<std::string, at::Tensor>>;

class StateStore {
 public:
  // specs: by parameter of the layout. Zeros on the device. Throws InputError where the device has
  // less memory than that, before any of it is taken, where parameters keep state of one name in
  // two types, for a bound on resident state on another device than the CPU, on a CUDA device for a
  // codec that it does not know and in a build without its compiler, and what PagedFile throws.
  StateStore(const ParameterLayout& layout, std::vector<std::vector<StateSpec>> specs,
             at::Device device, const StateFormat& format = {});

  // What has a codec is an undefined tensor.
  const State& of(std::size_t parameter) const { return states_[parameter]; }
  // Null for state number k in float32.
  const StateCodec* codec(std::size_t parameter, std::size_t k) const {
    return codecs_[parameter][k].get();
  }
  // Whether any state of the parameter has one, of all parameters.
  bool has_codec(std::size_t parameter) const;
  bool has_codecs() const;
  // Values [begin, begin + values.numel()) of state number k; begin is a multiple of
  // StateCodec::kAlignment. Nothing is done without a codec, or on the meta device. seed: of
  // rounding; see StateCodec::encode().
  void decode(std::size_t parameter, std::size_t k, std::int64_t begin,
              const at::Tensor& values) const;
  void encode(std::size_t parameter, std::size_t k, std::int64_t begin, const at::Tensor& values,
              std::uint64_t seed) const;

  // The stored form of state number k that has a codec: its parts, whole.
  const std::vector<at::Tensor>& stored(std::size_t parameter, std::size_t k) const {
    return stored_[parameter][k];
  }
  // Of the random numbers that encode() rounds values from `begin` on with.
  static std::uint64_t rounding_seed(std::uint64_t seed, std::size_t k, std::int64_t begin);

  // Around a parameter's update; nothing to do for state that is in memory.
  void begin_use(std::size_t parameter) const;
  void end_use(std::size_t parameter) const;
  // Leaves the memory that may be left.
  void evict() const;
  // Null where all state is in memory.
  const PagedFile* pages() const { return pages_.get(); }
  bool is_bounded() const { return resident_bound_ > 0; }
  // Of state in memory, at most.
  std::int64_t resident_bytes() const;

  // Makes all state of the parameter 0.
  void clear(std::size_t parameter) const;

  // Every name once, with the buffer of all parameters' values; without what rules size later.
  const NamedTensors& buffers() const { return buffers_; }
  // By name. What a rule has not sized yet counts with its bound.
  std::vector<std::pair<std::string, std::int64_t>> bytes() const;
  // NAME/PARAMETER, as views in the specs' shapes; NAME.PART/PARAMETER of what has a codec. NAME/*
  // or NAME.PART/*, flat, of what parameters have by turns.
  NamedTensors by_parameter() const;
  // Takes what by_parameter() gave, or buffers(), which is what checkpoints held before state was
  // saved by parameter. Where NAME.PART/PARAMETER is missing and NAME/PARAMETER is there, it is
  // encoded. Throws InputError by name for a tensor that is missing or of another size or type;
  // then nothing has changed.
  void load(const NamedTensors& saved);

 private:
  // Saved values of state number k: that a codec takes over, or whose size comes with them.
  struct Encoding {
    std::size_t parameter, number;
    const at::Tensor* values;
  };
  void make_buffers(at::Device device, const StateFormat& format);
  void move_turns(const std::map<std::string, std::int64_t>& first_of_turns);
  void cut_buffers();
  void page_buffers(const StateFormat& format);
  void leave(const at::Tensor& loaded) const;
  std::size_t buffer_with(const at::Tensor& view) const;
  void make_states();
  std::vector<at::Tensor> stored(std::size_t parameter, std::size_t k, std::int64_t begin,
                                 std::int64_t size) const;
  NamedTensors by_parameter(std::size_t parameter, std::size_t number) const;

  at::Device device_;
  std::vector<std::string> names_;  // of the layout
  std::vector<std::vector<StateSpec>> specs_;
  std::vector<std::vector<std::shared_ptr<const StateCodec>>> codecs_;  // null for float32
  std::shared_ptr<PagedFile> pages_;                                    // before the buffers in it
  std::int64_t resident_bound_ = 0;                                     // 0: none
  NamedTensors buffers_;
  NamedTensors by_turns_;             // ends of buffers
  std::vector<std::int64_t> begins_;  // in its buffer of every part, by parameter, state and part
  // By parameter and number of the state: the tensor, or the parts of its stored form.
  std::vector<std::vector<std::vector<at::Tensor>>> stored_;
  std::vector<State> states_;
};

}  // namespace blockwise
