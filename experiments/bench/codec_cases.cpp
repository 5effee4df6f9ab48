// Bytes of writing: the float32 values read and the codes written; of reading: the other way.
#include <ATen/ATen.h>
#include <fmt/format.h>

#include <memory>

#include "experiments/bench/bench_groups.hpp"
#include "experiments/bench/memory_cases.hpp"
#include "optimizers/state/state_codec.hpp"

namespace blockwise {
namespace {

struct Coded {
  std::shared_ptr<const StateCodec> codec;
  at::Tensor values;
  std::vector<at::Tensor> stored;

  double bytes() const {
    double sum = double(values.nbytes());
    for (const auto& part : stored) sum += double(part.nbytes());
    return sum;
  }
};

Coded coded_state(const std::string& name, StateUse use, std::int64_t rows) {
  constexpr std::int64_t kColumns = 1024;
  StateSpec spec{"state", {rows, kColumns}, use};
  Coded coded{make_state_codec(name, spec), at::randn({rows * kColumns}), {}};
  if (use == StateUse::non_negative) coded.values.square_();
  for (const auto& part : coded.codec->parts(coded.values.numel())) {
    coded.stored.push_back(at::zeros({part.size}, part.type));
  }
  coded.codec->encode(coded.values, coded.stored, 1);
  return coded;
}

void add_codec(BenchGroup& group, const std::string& name, StateUse use, std::int64_t rows) {
  const auto coded = coded_state(name, use, rows);
  const auto* moment = use == StateUse::average ? "m" : "v";
  const auto add = [&](const char* way, std::function<void()> run) {
    group.cases.push_back({.name = fmt::format("{} {} of {}", way, name, moment),
                           .run = std::move(run),
                           .bytes = coded.bytes(),
                           .limit = "copy"});
  };
  add("write", [coded] { coded.codec->encode(coded.values, coded.stored, 1); });
  add("read", [coded] { coded.codec->decode(coded.stored, coded.values); });
}

}  // namespace

BenchGroup state_codecs(const BenchSubject& sizes) {
  const auto rows = std::max<std::int64_t>(8, sizes.parameters / 1024);
  BenchGroup group{"codecs", {copy_case(rows * 1024, at::kCPU)}};
  for (const auto use : {StateUse::average, StateUse::non_negative}) {
    for (const auto& name : state_codec_names(use)) {
      if (name != "fp32") add_codec(group, name, use, rows);
    }
  }
  return group;
}

}  // namespace blockwise
