#include "experiments/records/checkpoint.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>

#include "core/base/error.hpp"
#include "core/base/json_fields.hpp"
#include "core/io/atomic_file.hpp"
#include "core/io/input_file.hpp"
#include "core/io/json_file.hpp"
#include "core/io/json_view.hpp"
#include "core/io/mapped_file.hpp"
#include "core/io/partial_file.hpp"
#include "core/io/safetensors.hpp"
#include "core/io/sha256.hpp"
#include "core/partition/partition_file.hpp"

namespace blockwise {
namespace {

namespace fs = std::filesystem;
constexpr const char* kFiles[] = {kParametersFile, "optimizer.safetensors"};

nlohmann::ordered_json model_json(const CheckpointContent& content) {
  const auto spec = content.model.clone();
  return {{"family", spec->family()},
          {"options", json_of(*spec)},
          {"data_folder", content.data_folder}};
}

void write_marker(const fs::path& folder, std::int64_t step, const CheckpointContent& content) {
  const auto partition = partition_hash(content.layout, content.partition);
  nlohmann::ordered_json marker = {{"format", "blockwise-checkpoint"},
                                   {"version", 1},
                                   {"step", step},
                                   {"config_hash", content.identity.hash},
                                   {"partition", partition},
                                   {"model", model_json(content)},
                                   {"run", identity_json(content.identity)}};
  for (const auto* file : kFiles) {
    const auto mapped = map_file(folder / file);
    marker["files"][file] = {{"bytes", mapped.bytes.size()},
                             {"sha256", sha256_of_mapped(mapped.bytes)}};
  }
  // Names of data files need not be UTF-8, and their content is what they are known by.
  constexpr auto kReplace = nlohmann::ordered_json::error_handler_t::replace;
  write_file_atomically(folder / "checkpoint.json", marker.dump(2, ' ', false, kReplace) + "\n");
}

std::string advice(const fs::path& folder) {
  return fmt::format("Delete the folder {} to resume from the checkpoint before it.",
                     folder.string());
}

void verify_file(const fs::path& folder, const std::string& file, const JsonView& marker) {
  const auto mapped = map_file(folder / file);
  const auto bytes = mapped.bytes;
  const auto entry = marker.at("files").at(file);
  const auto expected = static_cast<std::size_t>(entry.at("bytes").whole(0));
  require_input(bytes.size() == expected, "{}: damaged checkpoint: {} bytes, {} were written. {}",
                (folder / file).string(), bytes.size(), expected, advice(folder));
  require_input(sha256_of_mapped(bytes) == entry.at("sha256").text(),
                "{}: damaged checkpoint: its SHA-256 is another one than when it was written. {}",
                (folder / file).string(), advice(folder));
}

InputError damaged(const fs::path& folder, const InputError& error) {
  return InputError(fmt::format("{} (damaged checkpoint). {}", error.what(), advice(folder)));
}

nlohmann::ordered_json read_marker(const fs::path& folder) {
  try {
    return read_json_file(folder / "checkpoint.json");
  } catch (const InputError& error) {
    throw damaged(folder, error);
  }
}

// Calls check(marker) with what stands in checkpoint.json; what is missing there is damage.
template <typename Check>
void with_marker(const fs::path& folder, Check check) {
  const auto document = read_marker(folder);
  const JsonView marker(document, folder / "checkpoint.json");
  try {
    const auto format = marker.at("format").text();
    if (format != "blockwise-checkpoint") {
      marker.at("format").fail(fmt::format("is '{}', no checkpoint's", format));
    }
    marker.at("version").whole(1, 1);
    check(marker);
  } catch (const JsonError& error) {
    throw damaged(folder, error);
  }
}

void verify(const fs::path& folder, std::int64_t step, const std::vector<std::string>& hashes) {
  with_marker(folder, [&](const JsonView& marker) {
    const auto path = (folder / "checkpoint.json").string();
    require_input(marker.at("step").whole() == step,
                  "{}: damaged checkpoint: not the marker of step {}. {}", path, step,
                  advice(folder));
    const auto hash = marker.at("config_hash").text();
    require_input(std::ranges::count(hashes, hash) > 0,
                  "{}: this checkpoint belongs to a run with another configuration (hash {}, this "
                  "one is {}). Give the run another output folder, or delete the old one.",
                  path, hash, hashes.front());
    for (const auto* file : kFiles) verify_file(folder, file, marker);
  });
}

std::span<const std::byte> bytes_of(const at::Tensor& tensor) {
  return {static_cast<const std::byte*>(tensor.data_ptr()), tensor.nbytes()};
}

void copy_parameters(const fs::path& folder, ParameterStore& store) {
  const auto saved = read_safetensors(folder / kFiles[0]);
  at::NoGradGuard no_grad;
  for (std::size_t i = 0; i < store.tensors().size(); ++i) {
    const auto& name = store.layout().parameters()[i].name;
    const auto& tensor = saved.tensor(name);
    require_input(tensor.sizes() == store.tensors()[i].sizes(),
                  "{}: '{}' has another shape than the model's", saved.path, name);
    store.set_master(i, tensor);
    leave_pages(bytes_of(tensor));
  }
}

// -1 where the name is no checkpoint's.
std::int64_t step_in_name(const std::string& name) {
  std::int64_t step = 0;
  if (!name.starts_with("step_")) return -1;
  const auto result = std::from_chars(name.data() + 5, name.data() + name.size(), step);
  return result.ec == std::errc() && result.ptr == name.data() + name.size() ? step : -1;
}

// What is half there never has a checkpoint's name, also not on its way out.
void remove_checkpoint(const fs::path& folder) {
  fs::remove_all(partial_path(folder));
  fs::rename(folder, partial_path(folder));
  fs::remove_all(partial_path(folder));
}

// With what killed processes left of the checkpoints that they wrote or removed.
void prune(const fs::path& run, const KeptCheckpoints& keep) {
  const auto best = best_checkpoint_step(run);
  auto steps = checkpoint_steps(run);
  std::erase_if(steps, [&](std::int64_t step) {
    return step == best || (keep.every > 0 && step > 0 && step % keep.every == 0);
  });
  for (; static_cast<std::int64_t>(steps.size()) > keep.newest; steps.erase(steps.begin())) {
    remove_checkpoint(checkpoint_folder(run, steps.front()));
  }
  std::vector<fs::path> rests;
  for (const auto& entry : fs::directory_iterator(run / "checkpoints")) {
    if (entry.path().extension() == ".partial") rests.push_back(entry.path());
  }
  for (const auto& rest : rests) fs::remove_all(rest);
}

void write_folder(const fs::path& folder, std::int64_t step, const CheckpointContent& content) {
  const auto partial = partial_path(folder);
  fs::remove_all(partial);
  fs::create_directories(partial.parent_path());
  if (!fs::create_directory(partial)) {
    throw std::runtime_error(
        fmt::format("{}: somebody else has put a folder there", partial.string()));
  }
  write_safetensors(partial / kFiles[0], content.parameters);
  write_safetensors(partial / kFiles[1], content.state);
  write_marker(partial, step, content);
  sync_path(partial);
  rename_partial(folder);
  sync_path(folder.parent_path());
}

}  // namespace

std::vector<LateTensor> parameter_tensors(const ParameterStore& store) {
  std::vector<LateTensor> tensors;
  for (std::size_t i = 0; i < store.tensors().size(); ++i) {
    const auto& parameter = store.layout().parameters()[i];
    tensors.push_back(
        {parameter.name, parameter.shape, at::kFloat, [&store, i] { return store.master(i); }});
  }
  return tensors;
}

std::vector<LateTensor> state_tensors(const Optimizer& optimizer) {
  std::vector<LateTensor> tensors;
  for (const auto& saved : optimizer.saved_state()) {
    const auto& tensor = saved.second;
    const auto make = [&optimizer, tensor] {
      optimizer.state().evict();
      return tensor;
    };
    tensors.push_back({saved.first, tensor.sizes().vec(), tensor.scalar_type(), make});
  }
  return tensors;
}

fs::path checkpoint_folder(const fs::path& run, std::int64_t step) {
  return run / "checkpoints" / fmt::format("step_{:08d}", step);
}

std::vector<std::int64_t> checkpoint_steps(const fs::path& run) {
  std::vector<std::int64_t> steps;
  const auto checkpoints = run / "checkpoints";
  if (!input_exists(checkpoints) || !fs::is_directory(checkpoints)) return steps;
  for (const auto& entry : fs::directory_iterator(checkpoints)) {
    const auto step = step_in_name(entry.path().filename().string());
    if (step >= 0) steps.push_back(step);
  }
  std::sort(steps.begin(), steps.end());
  return steps;
}

fs::path best_checkpoint(const fs::path& run) { return run / "checkpoints" / "best"; }

std::optional<std::int64_t> best_checkpoint_step(const fs::path& run) {
  std::error_code none;
  const auto step = step_in_name(fs::read_symlink(best_checkpoint(run), none).string());
  if (none || step < 0 || !fs::is_directory(checkpoint_folder(run, step), none))
    return std::nullopt;
  return step;
}

void mark_best_checkpoint(const fs::path& run, std::int64_t step) {
  if (best_checkpoint_step(run) == step) return;
  const auto link = best_checkpoint(run);
  remove_partial(link);
  fs::create_directory_symlink(checkpoint_folder(run, step).filename(), partial_path(link));
  rename_partial(link);
  sync_path(link.parent_path());
}

std::int64_t checkpoint_step(const fs::path& folder) {
  const auto step = step_in_name(folder.filename().string());
  require_input(step >= 0, "{}: a checkpoint's folder is called step_N", folder.string());
  return step;
}

void write_checkpoint(const fs::path& run, std::int64_t step, const KeptCheckpoints& keep,
                      const CheckpointContent& content) {
  const auto folder = checkpoint_folder(run, step);
  // A run that goes on from its last step has it already, but perhaps too many before it.
  if (!input_exists(folder)) write_folder(folder, step, content);
  prune(run, keep);
}

void load_checkpoint(const fs::path& folder, std::int64_t step,
                     const std::vector<std::string>& hashes, ParameterStore& store,
                     const LoadState& load_state) {
  verify(folder, step, hashes);
  copy_parameters(folder, store);
  const auto state = read_safetensors(folder / kFiles[1]);
  try {
    load_state(step, state.tensors);
  } catch (const InputError& error) {
    throw InputError(
        fmt::format("{}: {}. {}", (folder / kFiles[1]).string(), error.what(), advice(folder)));
  }
}

RunIdentity checkpoint_identity(const fs::path& folder) {
  RunIdentity identity;
  with_marker(folder, [&](const JsonView& marker) {
    identity.hash = marker.at("config_hash").text();
    if (marker.has("run")) identity = identity_of_json(marker.at("run"), identity.hash);
  });
  return identity;
}

std::int64_t marked_step(const fs::path& folder) {
  std::int64_t step = 0;
  with_marker(folder, [&](const JsonView& marker) { step = marker.at("step").whole(0); });
  return step;
}

std::string checkpoint_partition(const fs::path& folder) {
  std::string hash;
  with_marker(folder, [&](const JsonView& marker) {
    if (marker.has("partition")) hash = marker.at("partition").text();
  });
  return hash;
}

std::optional<CheckpointModel> checkpoint_model(const fs::path& folder) {
  std::optional<CheckpointModel> model;
  with_marker(folder, [&](const JsonView& marker) {
    if (!marker.has("model")) return;
    const auto entry = marker.at("model");
    model = CheckpointModel{model_families().make(entry.at("family").text()),
                            entry.at("data_folder").text()};
    try {
      set_from_json(*model->spec, nlohmann::json(entry.at("options").value()));
    } catch (const JsonError&) {
      throw;
    } catch (const InputError& error) {
      entry.at("options").fail(error.what());
    }
  });
  return model;
}

void load_parameters(const fs::path& folder, ParameterStore& store) {
  with_marker(folder, [&](const JsonView& marker) { verify_file(folder, kFiles[0], marker); });
  copy_parameters(folder, store);
}

}  // namespace blockwise
