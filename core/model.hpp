// Models. A ModelSpec is what the YAML section `model` turns into; its layout() is pure, so a plan
// or a partition of a 7B model costs no memory. build() binds the forward pass to a ParameterStore.
#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/base/batch.hpp"
#include "core/base/fields.hpp"
#include "core/base/forward_context.hpp"
#include "core/base/linear.hpp"
#include "core/base/registry.hpp"
#include "core/losses/output_loss.hpp"
#include "core/parameters/parameter_store.hpp"

namespace blockwise {

class Model {
 public:
  virtual ~Model() = default;
  // What the head reads: tokens [B, T] -> [B, T, width]; vectors [B, features] -> [B, width].
  virtual at::Tensor features(const at::Tensor& inputs, ForwardContext& context) const = 0;
  // features -> scores of the vocabulary or of the classes.
  virtual const Linear& head() const = 0;

  // tokens [B, T] -> [B, T, vocabulary]; vectors [B, features] -> [B, classes].
  at::Tensor logits(const at::Tensor& inputs, ForwardContext& context) const;
  // What is made of the logits; the cross-entropy in nats unless a model says otherwise.
  virtual const OutputLoss& output_loss() const { return cross_entropy_loss(); }
  // Its mean over the targets that count; a scalar tensor with a graph.
  virtual at::Tensor loss(const Batch& batch, ForwardContext& context) const;
};

class ModelSpec {
 public:
  virtual ~ModelSpec() = default;
  virtual std::string family() const = 0;
  virtual std::string doc() const = 0;
  virtual void visit(FieldVisitor& visitor) = 0;
  // Fills sizes that were left at 0 from the data and throws InputError where the two do not fit.
  virtual void adapt_to(const DataShape& data) = 0;
  // Throws InputError where sizes are missing or contradict each other.
  virtual ParameterLayout layout() const = 0;
  // Longest sequence, in tokens; 0 for a model that reads no tokens.
  virtual std::int64_t context_length() const = 0;
  // Layers that run_layer() computes, which have their weights in no other one's pass: those below
  // this number (Parameter::layer).
  virtual std::int64_t separate_layers() const { return 0; }
  // Whether passes with a generator differ from those without (dropout).
  virtual bool draws_masks() const { return false; }
  virtual std::unique_ptr<Model> build(const ParameterStore& store) const = 0;
  virtual std::unique_ptr<ModelSpec> clone() const = 0;
};

// The table of core/models/registry.inc.
const Registry<ModelSpec>& model_families();

}  // namespace blockwise
