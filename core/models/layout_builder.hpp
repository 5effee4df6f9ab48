// What the model families share when they describe themselves: a list of parameters in the making,
// and the two sizes of a model that reads tokens.
#pragma once

#include <deque>
#include <string>

#include "core/model.hpp"

namespace blockwise {

class LayoutBuilder {
 public:
  // References stay valid while more are added. Matrices are [rows, columns] = [out, in] and
  // start as N(0, standard_deviation^2).
  struct Size {
    std::int64_t rows, columns;
  };
  Parameter& matrix(const std::string& name, ParameterRole role, std::int64_t layer, Size size,
                    double standard_deviation);
  Parameter& vector(const std::string& name, ParameterRole role, std::int64_t layer,
                    std::int64_t size, Initialization::Kind start);
  ParameterLayout finish() const;

 private:
  std::deque<Parameter> parameters_;
};

// vocab_size and block_size: 0 takes what the data set has.
struct TokenSizes {
  std::int64_t vocab_size = 0;
  std::int64_t block_size = 0;

  void visit(FieldVisitor& v);
  // Throws InputError where the data set does not fit into the model `family`.
  void adapt_to(const DataShape& data, const std::string& family);
  // Throws InputError while a size is still 0.
  void require_known(const std::string& family) const;
};

}  // namespace blockwise
