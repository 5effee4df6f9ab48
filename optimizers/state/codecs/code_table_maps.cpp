#include "optimizers/state/codecs/code_table_maps.hpp"

#include <ATen/ATen.h>

#include <algorithm>

namespace blockwise {

std::vector<float> signed_4bit_map() {
  std::vector<float> values = {0.0F, 1.0F};
  for (const auto value : {0.0055F, 0.0325F, 0.0775F, 0.2125F, 0.4375F, 0.6625F, 0.8875F}) {
    values.insert(values.end(), {-value, value});
  }
  std::ranges::sort(values);
  return values;
}

std::vector<float> linear_4bit_map() {
  std::vector<float> values;
  for (int k = 1; k <= 16; ++k) values.push_back(static_cast<float>(k) / 16.0F);
  return values;
}

kernels::CodeTable::Zero zero_of(StateUse use) {
  return use == StateUse::average ? kernels::CodeTable::Zero::plain
                                  : kernels::CodeTable::Zero::for_zero_only;
}

NumberFormat device_format_of(const kernels::CodeTable& table, NumberFormat::Kind kind) {
  return {kind, false, table.values().numbers, table.thresholds().numbers};
}

kernels::Codes codes_of(const std::vector<at::Tensor>& stored) {
  return {stored[0].data_ptr<std::uint8_t>(), stored[1].data_ptr<float>()};
}

}  // namespace blockwise
