#include "core/models/layout_builder.hpp"

#include "core/base/error.hpp"

namespace blockwise {

Parameter& LayoutBuilder::matrix(const std::string& name, ParameterRole role, std::int64_t layer,
                                 Size size, double standard_deviation) {
  auto& parameter = parameters_.emplace_back();
  parameter.name = name;
  parameter.role = role;
  parameter.layer = layer;
  parameter.shape = {size.rows, size.columns};
  parameter.initialization = {Initialization::Kind::normal, standard_deviation};
  return parameter;
}

Parameter& LayoutBuilder::vector(const std::string& name, ParameterRole role, std::int64_t layer,
                                 std::int64_t size, Initialization::Kind start) {
  auto& parameter = parameters_.emplace_back();
  parameter.name = name;
  parameter.role = role;
  parameter.layer = layer;
  parameter.shape = {size};
  parameter.initialization.kind = start;
  return parameter;
}

ParameterLayout LayoutBuilder::finish() const {
  return ParameterLayout({parameters_.begin(), parameters_.end()});
}

void TokenSizes::visit(FieldVisitor& v) {
  v.integer({"vocab_size", "tokens in the vocabulary; 0 takes the data's"}, vocab_size,
            {0, 1 << 20});
  v.integer({"block_size", "longest sequence, in tokens; 0 takes the data's"}, block_size,
            {0, 1 << 20});
}

void TokenSizes::adapt_to(const DataShape& data, const std::string& family) {
  require_input(data.inputs == DataShape::Inputs::tokens,
                "model {} reads tokens, the data set has vectors", family);
  if (vocab_size == 0) vocab_size = data.classes;
  if (block_size == 0) block_size = data.sequence_length;
  require_input(data.classes <= vocab_size,
                "the data's vocabulary has {} tokens, model.vocab_size is {}", data.classes,
                vocab_size);
  require_input(data.sequence_length <= block_size,
                "data.sequence_length is {}, model.block_size is {}", data.sequence_length,
                block_size);
}

void TokenSizes::require_known(const std::string& family) const {
  require_input(vocab_size > 0 && block_size > 0,
                "model {}: vocab_size is {} and block_size is {}: give both, or a data set to take "
                "them from",
                family, vocab_size, block_size);
}

}  // namespace blockwise
