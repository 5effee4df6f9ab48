#include "core/pretrained/llm_c.hpp"

#include <ATen/ATen.h>

#include <array>
#include <cstring>

#include "core/base/error.hpp"
#include "core/io/mapped_file.hpp"
#include "core/models/gpt2.hpp"
#include "core/pretrained/option_bounds.hpp"

namespace blockwise {
namespace {

constexpr std::size_t kHeaderBytes = 1024;
constexpr std::int32_t kMagic = 20240326;
constexpr std::int32_t kFloat32Version = 3;
constexpr std::int32_t kBfloat16Version = 5;

struct Header {
  at::ScalarType dtype = at::kFloat;
  std::int64_t positions = 0, vocabulary = 0, layers = 0, heads = 0, width = 0, padded = 0;
};

// One stacked tensor of the file: where a layer's part goes.
struct Stack {
  std::string first, last;  // name before and after the layer's number; last empty: not stacked
  std::vector<std::int64_t> shape;
};

std::vector<Stack> stacks(const Header& h) {
  const auto c = h.width;
  const auto in_layer = [](const std::string& name, std::vector<std::int64_t> shape) {
    return Stack{"transformer.h.", "." + name, std::move(shape)};
  };
  return {{"transformer.wte.weight", "", {h.padded, c}},
          {"transformer.wpe.weight", "", {h.positions, c}},
          in_layer("ln_1.weight", {c}),
          in_layer("ln_1.bias", {c}),
          in_layer("attn.c_attn.weight", {3 * c, c}),
          in_layer("attn.c_attn.bias", {3 * c}),
          in_layer("attn.c_proj.weight", {c, c}),
          in_layer("attn.c_proj.bias", {c}),
          in_layer("ln_2.weight", {c}),
          in_layer("ln_2.bias", {c}),
          in_layer("mlp.c_fc.weight", {4 * c, c}),
          in_layer("mlp.c_fc.bias", {4 * c}),
          in_layer("mlp.c_proj.weight", {c, 4 * c}),
          in_layer("mlp.c_proj.bias", {c}),
          {"transformer.ln_f.weight", "", {c}},
          {"transformer.ln_f.bias", "", {c}}};
}

std::int64_t elements(const std::vector<Stack>& all, const Header& h) {
  std::int64_t total = 0;
  for (const auto& stack : all) {
    std::int64_t size = stack.last.empty() ? 1 : h.layers;
    for (const auto length : stack.shape) size *= length;
    total += size;
  }
  return total;
}

std::unique_ptr<ModelSpec> spec_of(const Header& h) {
  Gpt2Options o;
  o.sizes = {h.vocabulary, h.positions};
  o.n_layer = h.layers;
  o.n_head = h.heads;
  o.n_embd = h.width;
  return std::make_unique<Gpt2Spec>(o);
}

const OptionNames kFields = {{"block_size", "the header's longest sequence"},
                             {"vocab_size", "the header's vocabulary"},
                             {"n_layer", "the header's number of layers"},
                             {"n_head", "the header's number of heads"},
                             {"n_embd", "the header's width"}};

void check_fields(const std::filesystem::path& file, const Header& h) {
  for (const auto& [name, value] :
       {std::pair{"longest sequence", h.positions}, std::pair{"vocabulary", h.vocabulary}}) {
    require_input(value >= 1, "{}: the header's {} is {}, at least 1 is needed", file.string(),
                  name, value);
  }
  check_option_bounds(*spec_of(h), file.string(), kFields);
  require_input(h.padded >= h.vocabulary && h.padded <= 1 << 21,
                "{}: the header's padded vocabulary is {}, its vocabulary {}", file.string(),
                h.padded, h.vocabulary);
}

Header read_header(const std::filesystem::path& file, std::span<const std::byte> bytes) {
  require_input(bytes.size() >= kHeaderBytes, "{}: {} bytes, a model file of llm.c starts with {}",
                file.string(), bytes.size(), kHeaderBytes);
  std::array<std::int32_t, 8> raw{};
  std::memcpy(raw.data(), bytes.data(), sizeof(raw));
  require_input(raw[0] == kMagic, "{}: magic number {}, a model file of llm.c has {}",
                file.string(), raw[0], kMagic);
  require_input(raw[1] == kFloat32Version || raw[1] == kBfloat16Version,
                "{}: version {}, known are {} (float32) and {} (bfloat16)", file.string(), raw[1],
                kFloat32Version, kBfloat16Version);
  const Header h{raw[1] == kFloat32Version ? at::kFloat : at::kBFloat16,
                 raw[2],
                 raw[3],
                 raw[4],
                 raw[5],
                 raw[6],
                 raw[7]};
  check_fields(file, h);
  const auto expected =
      kHeaderBytes + static_cast<std::size_t>(elements(stacks(h), h)) * c10::elementSize(h.dtype);
  require_input(bytes.size() == expected, "{}: the header asks for {} bytes, the file has {}",
                file.string(), expected, bytes.size());
  return h;
}

}  // namespace

std::unique_ptr<ModelSpec> read_llm_c_config(const std::filesystem::path& file) {
  return spec_of(read_header(file, map_file(file).bytes));
}

void read_llm_c_weights(const std::filesystem::path& file, ParameterStore& store) {
  at::NoGradGuard no_grad;
  const auto mapped = map_file(file);
  const auto h = read_header(file, mapped.bytes);
  auto* data = const_cast<std::byte*>(mapped.bytes.data()) + kHeaderBytes;
  const auto& layout = store.layout();
  for (const auto& stack : stacks(h)) {
    const auto count = stack.last.empty() ? 1 : h.layers;
    for (std::int64_t layer = 0; layer < count; ++layer) {
      const auto source = at::from_blob(data, stack.shape, at::TensorOptions().dtype(h.dtype));
      const auto name =
          stack.last.empty() ? stack.first : fmt::format("{}{}{}", stack.first, layer, stack.last);
      const auto parameter = layout.index_of(name);
      const auto rows = store.tensors()[parameter].size(0);
      store.set_master(parameter, source.narrow(0, 0, rows));
      data += source.nbytes();
    }
  }
}

}  // namespace blockwise
