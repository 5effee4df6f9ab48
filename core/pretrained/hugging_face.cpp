#include "core/pretrained/hugging_face.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <map>
#include <set>

#include "core/error.hpp"
#include "core/io/atomic_file.hpp"
#include "core/io/json_file.hpp"
#include "core/io/safetensors.hpp"
#include "core/pretrained/hugging_face_format.hpp"

namespace blockwise {

#define BLOCKWISE_HUGGING_FACE(maker) HuggingFaceFormat maker();
#include "core/pretrained/registry.inc"
#undef BLOCKWISE_HUGGING_FACE

const std::vector<HuggingFaceFormat>& hugging_face_formats() {
  static const std::vector<HuggingFaceFormat> formats = {
#define BLOCKWISE_HUGGING_FACE(maker) maker(),
#include "core/pretrained/registry.inc"
#undef BLOCKWISE_HUGGING_FACE
  };
  return formats;
}

namespace {

namespace fs = std::filesystem;

constexpr const char* kSingleFile = "model.safetensors";
constexpr const char* kIndexFile = "model.safetensors.index.json";
constexpr const char* kTokenizerFiles[] = {"tokenizer.json",
                                           "tokenizer_config.json",
                                           "tokenizer.model",
                                           "special_tokens_map.json",
                                           "added_tokens.json",
                                           "vocab.json",
                                           "merges.txt",
                                           "chat_template.jinja",
                                           "generation_config.json"};

const HuggingFaceFormat& format_of_type(const JsonConfig& config) {
  const auto type = config.text("model_type");
  std::vector<std::string> known;
  for (const auto& format : hugging_face_formats()) {
    for (const auto& candidate : format.model_types) {
      if (candidate == type) return format;
      known.push_back(candidate);
    }
  }
  config.fail("model_type", fmt::format("is '{}', supported: {}", type, fmt::join(known, ", ")));
}

const HuggingFaceFormat& format_of_family(const std::string& family) {
  for (const auto& format : hugging_face_formats()) {
    if (format.family == family) return format;
  }
  throw InputError(fmt::format("model family {} has no Hugging Face architecture", family));
}

std::vector<std::string> weight_files(const fs::path& folder) {
  if (fs::exists(folder / kSingleFile)) return {kSingleFile};
  require_input(fs::exists(folder / kIndexFile), "{}: neither {} nor {} is there", folder.string(),
                kSingleFile, kIndexFile);
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
std::vector<std::string> file_names(const ParameterBlock& block) {
  std::vector<std::string> names = {block.name, without_prefix(block.name)};
  names.insert(names.end(), block.tied_names.begin(), block.tied_names.end());
  return names;
}

bool ends_with_any(const std::string& name, const std::vector<std::string>& ends) {
  return std::any_of(ends.begin(), ends.end(),
                     [&](const auto& end) { return name.ends_with(end); });
}

// Copies blocks out of a folder's tensors and notes which tensors were used.
class WeightReader {
 public:
  WeightReader(const fs::path& folder, const HuggingFaceFormat& format)
      : folder_(folder.string()), format_(format), tensors_(folder) {}

  void read(const ParameterBlock& block, const at::Tensor& into) {
    const FolderTensors::Entry* found = nullptr;
    for (const auto& name : file_names(block)) {
      const auto at = tensors_.by_name.find(name);
      if (at == tensors_.by_name.end()) continue;
      used_.insert(name);
      if (found == nullptr) found = &at->second;
    }
    require_input(found != nullptr, "{}: there is no tensor '{}'", folder_, block.name);
    const auto source = block.stored_transposed ? transposed(*found, block) : found->tensor;
    require_input(source.is_floating_point(), "{}: tensor '{}' has dtype {}", found->file,
                  block.name, c10::toString(source.scalar_type()));
    require_input(source.sizes() == into.sizes(),
                  "{}: tensor '{}' has shape [{}], config.json asks for [{}]", found->file,
                  block.name, fmt::join(found->tensor.sizes(), ", "), shape_text(block));
    into.copy_(source);
  }

  void refuse_the_rest() const {
    for (const auto& [name, entry] : tensors_.by_name) {
      if (used_.count(name) > 0 || ends_with_any(name, format_.buffers)) continue;
      throw InputError(
          fmt::format("{}: tensor '{}' has no place in the model that config.json describes",
                      entry.file, name));
    }
  }

 private:
  static at::Tensor transposed(const FolderTensors::Entry& entry, const ParameterBlock& block) {
    require_input(entry.tensor.dim() == 2, "{}: tensor '{}' has {} axes, 2 are needed", entry.file,
                  block.name, entry.tensor.dim());
    return entry.tensor.t();
  }

  static std::string shape_text(const ParameterBlock& block) {
    auto shape = block.shape;
    if (block.stored_transposed) std::reverse(shape.begin(), shape.end());
    return fmt::format("{}", fmt::join(shape, ", "));
  }

  std::string folder_;
  const HuggingFaceFormat& format_;
  FolderTensors tensors_;
  std::set<std::string> used_;
};

// ---- writing -----------------------------------------------------------------------------------

// The file's tensors, not copied yet: a transposed one is a view.
NamedTensors file_tensors(const HuggingFaceFormat& format, const ParameterStore& store) {
  NamedTensors tensors;
  std::set<std::string> names;
  for (std::size_t i = 0; i < store.tensors().size(); ++i) {
    const auto& block = store.layout().blocks()[i];
    const auto value = store.master(i);
    tensors.emplace_back(block.name, block.stored_transposed ? value.t() : value);
    names.insert(block.name);
  }
  if (!format.biases_always) return tensors;
  for (const auto& block : store.layout().blocks()) {
    const bool weight = block.layer >= 0 || block.role == ParameterRole::norm;
    if (!weight || !block.name.ends_with(".weight")) continue;
    auto bias = block.name.substr(0, block.name.size() - 6) + "bias";
    if (names.count(bias) > 0) continue;
    tensors.emplace_back(std::move(bias), at::zeros({block.shape[0]}));
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

void write_shard(const fs::path& path, NamedTensors tensors, at::ScalarType dtype) {
  for (auto& [name, tensor] : tensors) tensor = tensor.to(dtype).contiguous();
  write_safetensors(path, tensors, {{"format", "pt"}});
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

std::unique_ptr<ModelSpec> read_hugging_face_config(const fs::path& folder) {
  const auto config = JsonConfig::load(folder / "config.json");
  return format_of_type(config).read_config(config);
}

void read_hugging_face_weights(const fs::path& folder, ParameterStore& store) {
  at::NoGradGuard no_grad;
  const auto config = JsonConfig::load(folder / "config.json");
  WeightReader reader(folder, format_of_type(config));
  for (std::size_t i = 0; i < store.tensors().size(); ++i) {
    reader.read(store.layout().blocks()[i], store.master(i));
  }
  reader.refuse_the_rest();
  store.publish();
}

void write_hugging_face(const fs::path& folder, const ModelSpec& spec, const ParameterStore& store,
                        const HuggingFaceWriting& writing) {
  at::NoGradGuard no_grad;
  const auto& format = format_of_family(spec.family());
  auto config = format.write_config(spec);
  for (const auto* key : {"dtype", "torch_dtype"}) config[key] = dtype_text(writing.dtype);
  require_input(!fs::exists(folder) || fs::is_empty(folder),
                "{}: this folder is there already and not empty", folder.string());
  fs::create_directories(folder);
  write_weights(folder, file_tensors(format, store), writing);
  for (const auto* name : kTokenizerFiles) {
    const auto source = writing.tokenizer_folder / name;
    if (writing.tokenizer_folder.empty() || !fs::exists(source)) continue;
    fs::copy_file(source, folder / name);
  }
  write_file_atomically(folder / "config.json", config.dump(2) + "\n");
}

}  // namespace blockwise
