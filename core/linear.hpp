// x [.., in], weight [out, in], bias [out] or undefined -> [.., out].
#pragma once

#include <ATen/core/Tensor.h>

namespace blockwise {

struct Linear {
  at::Tensor weight;
  at::Tensor bias;
  at::Tensor operator()(const at::Tensor& x) const;
};

}  // namespace blockwise
