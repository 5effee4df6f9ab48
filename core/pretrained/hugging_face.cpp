#include "core/pretrained/hugging_face.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <map>
#include <set>

#include "core/base/error.hpp"
#include "core/io/atomic_file.hpp"
#include "core/io/input_file.hpp"
#include "core/io/json_file.hpp"
#include "core/io/safetensors.hpp"
#include "core/pretrained/export_folder.hpp"
#include "core/pretrained/hugging_face_format.hpp"

namespace blockwise {

#define BLOCKWISE_HUGGING_FACE(family, maker) std::unique_ptr<HuggingFaceFormat> maker();
#include "core/pretrained/registry.inc"
#undef BLOCKWISE_HUGGING_FACE

const Registry<HuggingFaceFormat>& hugging_face_formats() {
#define BLOCKWISE_HUGGING_FACE(family, maker) {family, maker},
  static const Registry<HuggingFaceFormat> formats("Hugging Face architecture of the family", {
#include "core/pretrained/registry.inc"
                                                                                              });
#undef BLOCKWISE_HUGGING_FACE
  return formats;
}

namespace {

namespace fs = std::filesystem;

constexpr const char* kSingleFile = "model.safetensors";
constexpr const char* kIndexFile = "model.safetensors.index.json";

HuggingFaceFormat format_of_family(const std::string& family) {
  const auto names = hugging_face_formats().names();
  require_input(std::ranges::count(names, family) > 0,
                "model family {} has no Hugging Face architecture", family);
  return *hugging_face_formats().make(family);
}

HuggingFaceFormat format_of_type(const JsonConfig& config) {
  const auto type = config.text("model_type");
  std::vector<std::string> known;
  for (const auto& entry : hugging_face_formats()) {
    auto format = entry.make();
    for (const auto& candidate : format->model_types) {
      if (candidate == type) return std::move(*format);
      known.push_back(candidate);
    }
  }
  config.fail("model_type", fmt::format("is '{}', supported: {}", type, fmt::join(known, ", ")));
}

std::vector<std::string> weight_files(const fs::path& folder) {
  if (input_exists(folder / kSingleFile)) return {kSingleFile};
  const bool pickled = input_exists(folder / "pytorch_model.bin");
  require_input(input_exists(folder / kIndexFile), "{}: neither {} nor {} is there{}",
                folder.string(), kSingleFile, kIndexFile,
                pickled ? "; pytorch_model.bin is not read, save the model as safetensors" : "");
  const auto index = read_json_file(folder / kIndexFile);
  const bool valid = index.is_object() && index.contains("weight_map") &&
                     index["weight_map"].is_object() && !index["weight_map"].empty();
  require_input(valid, "{}: no object 'weight_map'", (folder / kIndexFile).string());
  std::set<std::string> files;
  for (const auto& [name, file] : index["weight_map"].items()) {
    const bool plain = file.is_string() && file.get<std::string>().find('/') == std::string::npos;
    require_input(plain, "{}: tensor '{}': {} is no file name", (folder / kIndexFile).string(),
                  name, file.dump());
    files.insert(file.get<std::string>());
  }
  return {files.begin(), files.end()};
}

// A folder may hold a configuration alone: enough for a plan.
bool weights_are_there(const fs::path& folder) {
  if (input_exists(folder / kSingleFile)) return true;
  if (!input_exists(folder / kIndexFile)) return false;
  const auto files = weight_files(folder);
  return std::all_of(files.begin(), files.end(),
                     [&](const auto& file) { return input_exists(folder / file); });
}

// All tensors of a folder by name, each with the file that it is in.
struct FolderTensors {
  struct Entry {
    at::Tensor tensor;
    std::string file;
  };
  std::map<std::string, Entry> by_name;

  explicit FolderTensors(const fs::path& folder) {
    for (const auto& file : weight_files(folder)) {
      const auto read = read_safetensors(folder / file);
      for (const auto& [name, tensor] : read.tensors) {
        const bool added = by_name.emplace(name, Entry{tensor, read.path}).second;
        require_input(added, "{}: tensor '{}' is in another file, too", read.path, name);
      }
    }
  }
};

// "transformer.wte.weight" -> "wte.weight": base models are saved without the first word.
std::string without_prefix(const std::string& name) {
  const auto dot = name.find('.');
  return name.substr(dot + 1);
}

// The names under which a block may stand in a file, best first.
std::vector<std::string> file_names(const Parameter& parameter) {
  std::vector<std::string> names = {parameter.name, without_prefix(parameter.name)};
  names.insert(names.end(), parameter.tied_names.begin(), parameter.tied_names.end());
  return names;
}

bool ends_with_any(const std::string& name, const std::vector<std::string>& ends) {
  return std::any_of(ends.begin(), ends.end(),
                     [&](const auto& end) { return name.ends_with(end); });
}

// Also of two dtypes.
bool same_values(const at::Tensor& a, const at::Tensor& b) {
  if (a.sizes() != b.sizes()) return false;
  return a.scalar_type() == b.scalar_type() ? at::equal(a, b)
                                            : at::equal(a.to(at::kDouble), b.to(at::kDouble));
}

// Finds the blocks of a model among a folder's tensors and notes which tensors were used.
class WeightReader {
 public:
  WeightReader(const fs::path& folder, HuggingFaceFormat format)
      : folder_(folder.string()), format_(std::move(format)), tensors_(folder) {}

  // Whether a tied tensor is there under several names with different values.
  bool has_untied(const ParameterLayout& layout) const {
    return std::any_of(layout.parameters().begin(), layout.parameters().end(),
                       [&](const auto& block) {
                         return !block.tied_names.empty() && differing(block) != nullptr;
                       });
  }

  // In the block's shape; a view.
  at::Tensor find(const Parameter& parameter) {
    const FolderTensors::Entry* found = nullptr;
    for (const auto& name : file_names(parameter)) {
      const auto at = tensors_.by_name.find(name);
      if (at == tensors_.by_name.end()) continue;
      used_.insert(name);
      if (found == nullptr) found = &at->second;
    }
    require_input(found != nullptr, "{}: there is no tensor '{}'", folder_, parameter.name);
    const auto* other = differing(parameter);
    require_input(other == nullptr,
                  "{}: tensor '{}' differs from '{}', which the model has as one; "
                  "tie_word_embeddings: false keeps both",
                  found->file, parameter.name, other == nullptr ? "" : *other);
    const auto source = parameter.stored_transposed ? transposed(*found, parameter) : found->tensor;
    require_input(source.is_floating_point(), "{}: tensor '{}' has dtype {}, no weights",
                  found->file, parameter.name, c10::toString(source.scalar_type()));
    require_input(source.sizes() == at::IntArrayRef(parameter.shape),
                  "{}: tensor '{}' has shape [{}], config.json asks for [{}]", found->file,
                  parameter.name, fmt::join(found->tensor.sizes(), ", "), shape_text(parameter));
    return source;
  }

  void find_all(const ParameterLayout& layout) {
    for (const auto& parameter : layout.parameters()) find(parameter);
    refuse_the_rest();
  }

 private:
  // A name of the block under which the folder has other values than under the first; or nothing.
  const std::string* differing(const Parameter& parameter) const {
    const FolderTensors::Entry* first = nullptr;
    for (const auto& name : file_names(parameter)) {
      const auto at = tensors_.by_name.find(name);
      if (at == tensors_.by_name.end()) continue;
      if (first == nullptr) first = &at->second;
      if (&at->second != first && !same_values(at->second.tensor, first->tensor)) {
        return &at->first;
      }
    }
    return nullptr;
  }

  void refuse_the_rest() const {
    for (const auto& [name, entry] : tensors_.by_name) {
      if (used_.count(name) > 0 || ends_with_any(name, format_.buffers)) continue;
      throw InputError(
          fmt::format("{}: tensor '{}' has no place in the model that config.json describes",
                      entry.file, name));
    }
  }

  static at::Tensor transposed(const FolderTensors::Entry& entry, const Parameter& parameter) {
    require_input(entry.tensor.dim() == 2, "{}: tensor '{}' has {} axes, 2 are needed", entry.file,
                  parameter.name, entry.tensor.dim());
    return entry.tensor.t();
  }

  static std::string shape_text(const Parameter& parameter) {
    auto shape = parameter.shape;
    if (parameter.stored_transposed) std::reverse(shape.begin(), shape.end());
    return fmt::format("{}", fmt::join(shape, ", "));
  }

  std::string folder_;
  HuggingFaceFormat format_;
  FolderTensors tensors_;
  std::set<std::string> used_;
};

std::unique_ptr<ModelSpec> checked_spec(const JsonConfig& config, const HuggingFaceFormat& format) {
  auto spec = format.read_config(config);
  check_option_bounds(*spec, config.file(), format.keys);
  return spec;
}

std::vector<std::string> unknown_keys(const JsonConfig& config, const HuggingFaceFormat& format) {
  auto keys = config.unread();
  std::erase_if(keys, [&](const auto& key) {
    const auto& own = format.harmless_keys;
    return is_harmless_key(key) || std::find(own.begin(), own.end(), key) != own.end();
  });
  return keys;
}

// ---- writing -----------------------------------------------------------------------------------

// The file's tensors, not copied yet: a transposed one is a view.
NamedTensors file_tensors(const HuggingFaceFormat& format, const ParameterStore& store) {
  NamedTensors tensors;
  std::set<std::string> names;
  for (std::size_t i = 0; i < store.tensors().size(); ++i) {
    const auto& parameter = store.layout().parameters()[i];
    const auto value = store.master(i);
    tensors.emplace_back(parameter.name, parameter.stored_transposed ? value.t() : value);
    names.insert(parameter.name);
  }
  if (!format.biases_always) return tensors;
  for (const auto& parameter : store.layout().parameters()) {
    const bool weight = parameter.layer >= 0 || parameter.role == ParameterRole::norm;
    if (!weight || !parameter.name.ends_with(".weight")) continue;
    auto bias = parameter.name.substr(0, parameter.name.size() - 6) + "bias";
    if (names.count(bias) > 0) continue;
    tensors.emplace_back(std::move(bias), at::zeros({parameter.shape[0]}));
  }
  return tensors;
}

std::vector<NamedTensors> split_into_shards(const NamedTensors& tensors,
                                            const HuggingFaceWriting& writing) {
  std::vector<NamedTensors> shards(1);
  std::int64_t bytes = 0;
  for (const auto& entry : tensors) {
    const auto size =
        entry.second.numel() * static_cast<std::int64_t>(c10::elementSize(writing.dtype));
    if (bytes > 0 && bytes + size > writing.shard_bytes) {
      shards.emplace_back();
      bytes = 0;
    }
    shards.back().push_back(entry);
    bytes += size;
  }
  return shards;
}

// One tensor at a time in the type of the file.
void write_shard(const fs::path& path, const NamedTensors& tensors, at::ScalarType dtype) {
  std::vector<LateTensor> late;
  for (const auto& entry : tensors) {
    late.push_back({entry.first, entry.second.sizes().vec(), dtype,
                    [tensor = entry.second, dtype] { return tensor.to(dtype).contiguous(); }});
  }
  write_safetensors(path, late, {{"format", "pt"}});
}

void write_weights(const fs::path& folder, const NamedTensors& tensors,
                   const HuggingFaceWriting& writing) {
  const auto shards = split_into_shards(tensors, writing);
  if (shards.size() == 1) return write_shard(folder / kSingleFile, shards[0], writing.dtype);
  nlohmann::ordered_json index;
  std::int64_t bytes = 0;
  for (std::size_t i = 0; i < shards.size(); ++i) {
    const auto file = fmt::format("model-{:05d}-of-{:05d}.safetensors", i + 1, shards.size());
    write_shard(folder / file, shards[i], writing.dtype);
    for (const auto& [name, tensor] : shards[i]) {
      index["weight_map"][name] = file;
      bytes += tensor.numel() * static_cast<std::int64_t>(c10::elementSize(writing.dtype));
    }
  }
  index["metadata"] = {{"total_size", bytes}};
  write_file_atomically(folder / kIndexFile, index.dump(2) + "\n");
}

std::string dtype_text(at::ScalarType dtype) {
  return dtype == at::kFloat ? "float32" : dtype == at::kBFloat16 ? "bfloat16" : "float16";
}

}  // namespace

HuggingFaceConfig read_hugging_face_config(const fs::path& folder) {
  auto config = JsonConfig::load(folder / "config.json");
  const auto format = format_of_type(config);
  refuse_foreign_options(config);
  HuggingFaceConfig result;
  result.spec = checked_spec(config, format);
  result.companions = {
      folder, read_special_tokens(config, format.default_tokens(config.text("model_type")))};
  result.unknown_keys = unknown_keys(config, format);
  if (!weights_are_there(folder)) return result;
  WeightReader reader(folder, format);
  if (reader.has_untied(result.spec->layout())) {
    result.spec = checked_spec(config.with("tie_word_embeddings", false), format);
  }
  reader.find_all(result.spec->layout());
  return result;
}

void read_hugging_face_weights(const fs::path& folder, ParameterStore& store) {
  at::NoGradGuard no_grad;
  const auto config = JsonConfig::load(folder / "config.json");
  WeightReader reader(folder, format_of_type(config));
  reader.find_all(store.layout());
  for (std::size_t i = 0; i < store.tensors().size(); ++i) {
    const auto& parameter = store.layout().parameters()[i];
    store.set_master(i, reader.find(parameter));
  }
}

void write_hugging_face(const fs::path& folder, const ModelSpec& spec, const ParameterStore& store,
                        const HuggingFaceWriting& writing) {
  at::NoGradGuard no_grad;
  const auto format = format_of_family(spec.family());
  auto config = format.write_config(spec);
  for (const auto* key : {"dtype", "torch_dtype"}) config[key] = dtype_text(writing.dtype);
  write_special_tokens(writing.companions.tokens, config);
  ExportFolder unfinished(folder);
  write_weights(folder, file_tensors(format, store), writing);
  if (!writing.companions.folder.empty()) copy_companion_files(writing.companions.folder, folder);
  write_file_atomically(folder / "config.json", config.dump(2) + "\n");
  unfinished.finish();
}

}  // namespace blockwise
