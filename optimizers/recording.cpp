#include "optimizers/recording.hpp"

#include <ATen/ATen.h>
#include <fmt/ranges.h>

#include <charconv>
#include <optional>

#include "core/base/error.hpp"
#include "core/io/safetensors.hpp"
#include "optimizers/random_draws.hpp"

namespace blockwise {
namespace {

constexpr std::int64_t kMostSteps = 1'000'000;
constexpr std::int64_t kMostLayers = 1'000'000;

// A whole number from `least` on; nothing for any other text.
std::optional<std::int64_t> number_of(std::string_view text, std::int64_t least,
                                      std::int64_t most) {
  std::int64_t value = 0;
  const auto* end = text.data() + text.size();
  const auto [last, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || last != end || value < least || value > most) return std::nullopt;
  return value;
}

class Reader {
 public:
  Reader(const std::filesystem::path& path, const std::map<std::string, std::string>& said)
      : file_(read_safetensors(path)), said_(said) {
    said_.insert(file_.metadata.begin(), file_.metadata.end());
  }

  Recording read() {
    std::vector<Parameter> parameters;
    for (const auto& [key, tensor] : file_.tensors) {
      if (!key.starts_with("param/")) continue;
      parameters.push_back(described(key.substr(6), tensor));
      recording_.weights.push_back(checked(key, tensor));
    }
    require(!parameters.empty(), "no tensor is called param/NAME, so there is no parameter");
    recording_.layout = ParameterLayout(std::move(parameters));
    recording_.path = file_.path;
    check_descriptions();
    for (const auto& [key, tensor] : file_.tensors) {
      if (!key.starts_with("param/")) place(key, tensor);
    }
    check_complete();
    return std::move(recording_);
  }

 private:
  template <typename... Args>
  void require(bool condition, fmt::format_string<Args...> text, Args&&... args) const {
    if (condition) return;
    throw InputError(
        fmt::format("{}: {}", file_.path, fmt::format(text, std::forward<Args>(args)...)));
  }

  const at::Tensor& checked(const std::string& key, const at::Tensor& tensor) const {
    require(at::isFloatingType(tensor.scalar_type()), "'{}' is {}, floating point is needed", key,
            c10::toString(tensor.scalar_type()));
    return tensor;
  }

  Parameter described(const std::string& name, const at::Tensor& tensor) const {
    Parameter parameter;
    parameter.name = name;
    parameter.shape = tensor.sizes().vec();
    require(!name.empty(), "'param/' has no name");
    require(tensor.dim() > 0, "'param/{}' is a number without a side: give it the shape [1]", name);
    require(tensor.numel() > 0, "'param/{}' has the shape [{}], no element", name,
            fmt::join(parameter.shape, ", "));
    const auto role = said_.find("role/" + name);
    if (role != said_.end()) parameter.role = role_of(name, role->second);
    const auto heads = said_.find("heads/" + name);
    if (heads != said_.end()) parameter.heads = heads_of(parameter, heads->second);
    const auto layer = said_.find("layer/" + name);
    if (layer != said_.end()) parameter.layer = layer_of(name, layer->second);
    return parameter;
  }

  ParameterRole role_of(const std::string& name, const std::string& role) const {
    try {
      return role_from_name(role);
    } catch (const InputError&) {
      require(false, "the role of '{}' is '{}', none of {}", name, role,
              fmt::join(role_names(), ", "));
      throw;
    }
  }

  Heads heads_of(const Parameter& parameter, const std::string& text) const {
    const bool columns = parameter.role == ParameterRole::attention_output;
    const auto along = columns ? parameter.columns() : parameter.rows();
    const auto count = number_of(text, 1, along);
    require(count.has_value() && along % *count == 0,
            "the heads of '{}' are '{}', a number that divides its {} {} is needed", parameter.name,
            text, along, columns ? "columns" : "rows");
    return {*count, along / *count, columns ? Heads::Axis::columns : Heads::Axis::rows};
  }

  std::int64_t layer_of(const std::string& name, const std::string& text) const {
    const auto layer = number_of(text, 0, kMostLayers - 1);
    require(layer.has_value(), "the layer of '{}' is '{}', a number from 0 to {} is needed", name,
            text, kMostLayers - 1);
    return *layer;
  }

  // Whoever describes a parameter that is not there has misspelt one.
  void check_descriptions() const {
    for (const auto& [key, value] : said_) {
      const auto slash = key.find('/');
      const auto kind = key.substr(0, slash);
      const bool describes = kind == "role" || kind == "heads" || kind == "layer";
      if (slash == std::string::npos || !describes) continue;
      index_of(key, key.substr(slash + 1));
    }
  }

  std::size_t index_of(const std::string& key, const std::string& name) const {
    for (std::size_t i = 0; i < recording_.layout.parameters().size(); ++i) {
      if (recording_.layout.parameters()[i].name == name) return i;
    }
    require(false, "'{}' is of no parameter: there is no 'param/{}'", key, name);
    return 0;
  }

  // KIND/NUMBER/NAME
  struct Place {
    std::int64_t number;
    std::string name;
  };

  void place(const std::string& key, const at::Tensor& tensor) {
    if (key == "schedule") return set_schedule(tensor);
    const auto kind = key.substr(0, key.find('/'));
    if (kind == "grad") return add(key, tensor, &Recording::Step::gradients);
    if (kind == "curvature") return add(key, tensor, &Recording::Step::curvature);
    if (kind == "random") return add_draw(key, tensor);
    require(false,
            "'{}' is none of param/NAME, grad/STEP/NAME, curvature/STEP/NAME, random/DRAW/NAME and "
            "schedule",
            key);
  }

  Place place_of(const std::string& key, std::string_view what) const {
    const auto first = key.find('/');
    const auto second = first == std::string::npos ? first : key.find('/', first + 1);
    require(second != std::string::npos, "'{}' is not {}/{}/NAME", key, key.substr(0, first),
            what == "step" ? "STEP" : "DRAW");
    const auto text = key.substr(first + 1, second - first - 1);
    const auto number = number_of(text, 1, kMostSteps);
    require(number.has_value(), "'{}': the {} is '{}', a number from 1 to {} is needed", key, what,
            text, kMostSteps);
    return {*number, key.substr(second + 1)};
  }

  void add(const std::string& key, const at::Tensor& tensor,
           std::vector<at::Tensor> Recording::Step::*kind) {
    const auto at = place_of(key, "step");
    const auto parameter = index_of(key, at.name);
    const auto& shape = recording_.layout.parameters()[parameter].shape;
    require(tensor.sizes() == at::IntArrayRef(shape), "'{}' has the shape [{}], its parameter [{}]",
            key, fmt::join(tensor.sizes(), ", "), fmt::join(shape, ", "));
    auto& values = (step_at(at.number).*kind)[parameter];
    require(!values.defined(), "'{}' is there twice, with its step written in another way", key);
    values = checked(key, tensor);
  }

  // Its shape is known to the rule alone.
  void add_draw(const std::string& key, const at::Tensor& tensor) {
    const auto at = place_of(key, "draw");
    if (at.name != kAllParameters) index_of(key, at.name);
    const auto added =
        recording_.draws.emplace(fmt::format("random/{}/{}", at.number, at.name), tensor).second;
    require(added, "'{}' is there twice, with its draw written in another way", key);
  }

  Recording::Step& step_at(std::int64_t number) {
    const auto n = recording_.layout.parameters().size();
    while (std::ssize(recording_.steps) < number) {
      // More steps than tensors: one is missing, and nothing of that size is taken.
      require(recording_.steps.size() <= file_.tensors.size(), "'grad/{}/{}' is missing",
              recording_.steps.size(), recording_.layout.parameters().front().name);
      recording_.steps.push_back({std::vector<at::Tensor>(n), std::vector<at::Tensor>(n), 1.0});
    }
    return recording_.steps[std::size_t(number - 1)];
  }

  void set_schedule(const at::Tensor& tensor) {
    require(tensor.dim() == 1, "'schedule' has {} axes, one is needed", tensor.dim());
    schedule_ = checked("schedule", tensor).to(at::kDouble);
  }

  void check_complete() {
    auto& steps = recording_.steps;
    require(!steps.empty(), "no tensor is called grad/STEP/NAME, so there is no step");
    for (std::size_t s = 0; s < steps.size(); ++s) {
      for (std::size_t i = 0; i < steps[s].gradients.size(); ++i) {
        require(steps[s].gradients[i].defined(), "'grad/{}/{}' is missing", s + 1,
                recording_.layout.parameters()[i].name);
      }
    }
    if (!schedule_.defined()) return;
    require(schedule_.numel() == std::ssize(steps), "'schedule' has {} values, there are {} steps",
            schedule_.numel(), steps.size());
    for (std::size_t s = 0; s < steps.size(); ++s) {
      const auto rate = schedule_[std::int64_t(s)].item<double>();
      require(rate >= 0.0 && rate <= 1e6, "'schedule' has {} at step {}, 0 to 1e6 are allowed",
              rate, s + 1);
      steps[s].rate = rate;
    }
  }

  SafetensorsFile file_;
  std::map<std::string, std::string> said_;
  Recording recording_;
  at::Tensor schedule_;
};

}  // namespace

Recording read_recording(const std::filesystem::path& path,
                         const std::map<std::string, std::string>& said) {
  return Reader(path, said).read();
}

}  // namespace blockwise
