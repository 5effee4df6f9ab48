#include "experiments/curvature/spectrum.hpp"

#include <ATen/ATen.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "core/base/error.hpp"
#include "core/io/atomic_file.hpp"
#include "core/io/input_file.hpp"
#include "core/io/output_folder.hpp"
#include "core/memory/device.hpp"
#include "core/memory/memory_meter.hpp"
#include "experiments/config/config_text.hpp"
#include "experiments/config/model_source.hpp"
#include "experiments/config/run_data.hpp"
#include "experiments/curvature/hessian_batches.hpp"
#include "experiments/curvature/hessian_measurement.hpp"
#include "experiments/curvature/led_work.hpp"
#include "experiments/curvature/measured_examples.hpp"
#include "experiments/curvature/measured_shares.hpp"
#include "experiments/curvature/measured_store.hpp"
#include "experiments/curvature/vectors_in_files.hpp"
#include "experiments/records/hessian_row_checks.hpp"
#include "experiments/records/measured_arrays.hpp"
#include "experiments/records/provenance.hpp"

namespace blockwise {
namespace {

namespace fs = std::filesystem;
const FileFormat kFormat = {"blockwise-spectrum", 1};

fs::path file_of(const RunConfig& config) { return fs::path(config.output) / "spectrum.h5"; }

SpectrumPlan plan_spectrum(const RunConfig& config, const Dataset& data,
                           const ParameterLayout& layout, std::int64_t ranks) {
  SpectrumPlan plan;
  const bool shares = measures_shares(config, ranks);
  if (!shares) {
    require_measured_store(config, layout, resolve_device(config.trainer.device));
  }
  plan.measurement = plan_measurement(config.hessian, layout, ranks);
  plan.memory = hessian_memory(config, data);
  if (shares) plan.memory = shared_product_memory(plan.memory, config, layout, ranks);
  plan.peak_bytes = plan.memory.peak + plan.measurement.basis_bytes;
  plan.file_bytes = plan.memory.files + plan.measurement.basis_file_bytes;
  return plan;
}

// The first tensor that the model has otherwise is named.
void require_layout(const std::string& path, const ParameterLayout& found,
                    const ParameterLayout& expected) {
  const auto count = std::min(found.parameters().size(), expected.parameters().size());
  const auto text = [](const Parameter& parameter) {
    return fmt::format("'{}' [{}]", parameter.name, fmt::join(parameter.shape, ", "));
  };
  for (std::size_t t = 0; t < count; ++t) {
    const auto &a = found.parameters()[t], &b = expected.parameters()[t];
    require_input(a.name == b.name && a.shape == b.shape,
                  "hessian.models: {}: has the tensor {} where the first model has {}", path,
                  text(a), text(b));
  }
  require_input(found.parameters().size() == expected.parameters().size(),
                "hessian.models: {}: has {} tensors, the first model has {}", path,
                found.parameters().size(), expected.parameters().size());
}

struct Points {
  std::vector<MeasuredPoint> points;
  std::vector<std::string> models;  // in words
};

Points single_point(const RunConfig& config) {
  const auto& path = config.model.from;
  if (path.empty()) return {{{0, ""}}, {fmt::format("the fresh model of seed {}", config.seed)}};
  const auto source = open_model(path);
  return {{{source.step.value_or(0), path}}, {source.description}};
}

// Steps are the checkpoints' where all have one and they ascend; otherwise points are counted.
Points points_of(const RunConfig& config, const ParameterLayout& layout) {
  if (config.hessian.models.empty()) return single_point(config);
  Points found;
  auto& points = found.points;
  bool ascend = true;
  for (const auto& path : config.hessian.models) {
    const auto source = open_model(path);
    require_layout(path, source.spec->layout(), layout);
    const auto step = source.step.value_or(-1);
    ascend = ascend && step > (points.empty() ? -1 : points.back().step);
    points.push_back({step, path});
    found.models.push_back(source.description);
  }
  for (std::size_t i = 0; i < points.size() && !ascend; ++i) {
    points[i].step = static_cast<std::int64_t>(i);
  }
  return found;
}

void require_memory(const RunConfig& config, const SpectrumPlan& plan, const at::Device& device) {
  const auto gib = [](std::int64_t bytes) { return double(bytes) / double(1 << 30); };
  require_available(plan.peak_bytes, device,
                    fmt::format("hessian ({:.2f} GiB for the model and a product, {:.2f} for "
                                "Lanczos vectors)",
                                gib(plan.memory.peak), gib(plan.measurement.basis_bytes)),
                    fmt::format("{}, fewer hessian.lanczos.steps, "
                                "hessian.lanczos.reorthogonalisation none, hessian.vectors_in file",
                                kSmallerProducts));
  require_room_for_vectors(config, device, plan.file_bytes);
}

// ---- the file -----------------------------------------------------------------------------------

std::string group_of(const ResolvedSpectrum& spectrum, const MeasuredPoint& point) {
  return spectrum.points.size() > 1 ? fmt::format("/hessian/steps/{}", point.step) : "/hessian";
}

void create_arrays(Hdf5File& file, const ResolvedSpectrum& spectrum, const MeasuredPoint& point) {
  const auto& h = spectrum.config.hessian;
  const auto& parts = spectrum.plan.measurement.tables.parts;
  const auto group = group_of(spectrum, point);
  if (spectrum.points.size() > 1) file.create_group(group);
  if (h.exact) create_exact_matrices(file, group, parts);
  if (h.diagonal.products > 0) create_vectors(file, group, parts);
  if (h.pairs.vectors > 0) create_eigenvectors(file, group, parts, h.pairs.vectors);
}

Hdf5File create_file(const ResolvedSpectrum& spectrum, const Provenance& provenance) {
  auto file = Hdf5File::create(file_of(spectrum.config));
  write_header(file, kFormat, to_yaml(spectrum.config), spectrum.hash, provenance);
  write_processes(file, {{1, provenance}});
  create_hessian_tables(file, spectrum.layout, spectrum.plan.measurement.tables);
  file.set_attribute("/hessian", "model", fmt::format("{}", fmt::join(spectrum.models, "; ")));
  if (spectrum.points.size() > 1) file.create_group("/hessian/steps");
  for (const auto& point : spectrum.points) create_arrays(file, spectrum, point);
  write_status(file);
  return file;
}

void require_same(const Hdf5File& file, const ResolvedSpectrum& spectrum) {
  const auto path = file_of(spectrum.config);
  require_format(file, path, kFormat);
  const auto hash = file.text_attribute("/config", "hash");
  require_input(hash == spectrum.hash,
                "{}: a measurement with another configuration (hash {}, this one is {}). Give "
                "this one another --output, or delete the old folder.",
                path.string(), hash, spectrum.hash);
}

// A run that trained on since, or a file from before steps were the model's: rows of two models
// would stand under one name. `finished` files of the second kind are whole and say step 0.
void require_same_steps(const HessianRows& rows, const ResolvedSpectrum& spectrum, bool finished) {
  for (const auto& row : rows.summary) {
    const bool known = std::ranges::count(spectrum.points, row.step, &MeasuredPoint::step) > 0;
    const bool before_steps = finished && row.step == 0 && spectrum.points.size() == 1;
    require_input(known || before_steps,
                  "{}: the model was measured at step {}, it is {} now. Give this measurement "
                  "another --output, or delete the old folder.",
                  file_of(spectrum.config).string(), row.step, spectrum.models.front());
  }
}

RunState state_of(const Hdf5File& file, const fs::path& path) {
  const auto state = file.enum_value("/status/state");
  require_input(state >= 0 && state < std::ssize(run_state_names()), "{}: /status/state is {}",
                path.string(), state);
  return static_cast<RunState>(state);
}

HessianRows read_rows_of(const Hdf5File& file, const ResolvedSpectrum& spectrum) {
  auto rows = read_hessian_rows(file);
  check_hessian_rows(rows, extents_of(spectrum.plan.measurement.tables, spectrum.layout),
                     file_of(spectrum.config).string());
  return rows;
}

void set_state(Hdf5File& file, RunState state, const std::string& message) {
  file.write_text("/status/message", message);
  file.write_enum("/status/state", static_cast<std::int64_t>(state));
  file.flush();
}

// The file may be what failed, so this gives up quietly.
void record_failure(Hdf5File& file, const std::string& message) noexcept {
  try {
    set_state(file, RunState::failed, message);
    file.close();
  } catch (const std::exception&) {
  }
}

std::optional<SpectrumOutcome> finished_before(const ResolvedSpectrum& spectrum) {
  const auto path = file_of(spectrum.config);
  if (!input_exists(path)) return std::nullopt;
  const auto file = Hdf5File::open_for_reading(path);
  require_same(file, spectrum);
  if (state_of(file, path) != RunState::finished) return std::nullopt;
  auto rows = read_rows_of(file, spectrum);
  require_same_steps(rows, spectrum, /*finished=*/true);
  return SpectrumOutcome{RunState::finished, path.string(), std::move(rows),
                         spectrum.plan.measurement.tables};
}

struct OpenFile {
  Hdf5File file;
  HessianRows done;  // what an interrupted measurement left
};

// What an interrupted measurement left whose file is gone: of another configuration, as it may be.
void forget_states(const fs::path& folder) {
  std::vector<fs::path> states;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const auto name = entry.path().filename().string();
    const bool products = name.starts_with("products-") && name.ends_with(".bin");
    if (products || name == "lanczos.h5") states.push_back(entry.path());
  }
  for (const auto& state : states) fs::remove(state);
}

OpenFile open_file(const ResolvedSpectrum& spectrum, const Provenance& provenance) {
  const auto path = file_of(spectrum.config);
  if (!input_exists(path)) {
    forget_states(spectrum.config.output);
    OpenFile created{create_file(spectrum, provenance), {}};
    created.file.start_swmr();
    return created;
  }
  auto file = Hdf5File::open_for_appending(path);
  keep_complete_hessian_rows(file);
  auto done = read_rows_of(file, spectrum);
  require_same_steps(done, spectrum, /*finished=*/false);
  auto processes = read_processes(file);
  processes.push_back({std::ssize(done.summary) + 1, provenance});
  write_processes(file, processes);
  file.write_enum("/status/state", static_cast<std::int64_t>(RunState::running));
  file.start_swmr();
  return {std::move(file), std::move(done)};
}

// ---- the measurement ----------------------------------------------------------------------------

// What is measured at a point, on this rank.
struct PointCurvature {
  MemoryMeter meter;  // before everything that holds tensors
  Owners owners;      // where ranks share the parameters
  std::unique_ptr<ParameterStore> store;
  std::unique_ptr<Model> model;
  std::unique_ptr<TensorsInFile> files;
  std::unique_ptr<Curvature> curvature;

  PointCurvature(const ResolvedSpectrum& spectrum, const MeasuredPoint& point, at::Device device,
                 const Ranks& ranks)
      : meter(device) {
    auto config = spectrum.config;
    config.model.from = point.model;
    std::optional<OwnMasters> own;
    if (measures_shares(config, ranks.size())) {
      owners = measured_owners(config, spectrum.layout, ranks.size());
      own = OwnMasters{owners.own(ranks.rank()), config.model.spec->separate_layers()};
    }
    store = measured_store(config, spectrum.layout, device, own);
    model = config.model.spec->build(*store);
    files = vectors_in_files(config, spectrum.layout);
    auto batches = hessian_batches(config.hessian, *spectrum.data, device, config.hessian.dtype());
    const auto method = config.hessian.product_method();
    curvature =
        own ? std::make_unique<Curvature>(*model, *store, std::move(batches), method, ranks, owners)
            : std::make_unique<Curvature>(*model, *store, std::move(batches), method, ranks);
    measure_only(config.hessian.curvature_kind(), *curvature);
  }
};

// False: it was stopped. `products` counts those of all points.
bool measure_point(OpenFile& open, const ResolvedSpectrum& spectrum, const MeasuredPoint& point,
                   std::int64_t& products, const SpectrumHooks& hooks, const Ranks& ranks) {
  auto& file = open.file;
  const auto& config = spectrum.config;
  const PointCurvature at(spectrum, point, resolve_device(config.trainer.device), ranks);
  const auto group = group_of(spectrum, point);
  const MeasurementSinks sinks = {
      [&](const HessianRows& rows) { append_hessian_rows(file, rows); },
      [&](std::size_t part, const at::Tensor& matrix) {
        write_exact_matrix(file, group, part, matrix);
      },
      [&](std::size_t part, const auto& vectors) { write_vectors(file, group, part, vectors); },
      [&](const std::string& what) { hooks.product(++products, what); },
      [&] { return at.meter.peak_allocated(); },
      [&](std::size_t part, const auto& pairs) { write_eigenvectors(file, group, part, pairs); }};
  const BasisKeepers keepers(ranks, [&] { at.curvature->lead_beside(); });
  return measure_hessian(
      {config.hessian, spectrum.plan.measurement.tables, *at.curvature, point.step,
       fs::path(config.output) / "lanczos.h5", ranks.is_alone() ? nullptr : &keepers},
      open.done, sinks, hooks.stop);
}

void lead_end(const Ranks& ranks, RunState state) {
  lead_end(ranks, static_cast<std::int64_t>(state));
}

SpectrumOutcome serve_points(const ResolvedSpectrum& spectrum, at::Device device,
                             const Ranks& ranks) {
  const auto serve = [&](std::int64_t point) {
    const PointCurvature at(spectrum, spectrum.points[std::size_t(point)], device, ranks);
    BasisService basis;
    at.curvature->serve(&basis);
  };
  SpectrumOutcome outcome;
  outcome.state = static_cast<RunState>(serve_work(ranks, {serve}));
  return outcome;
}

bool measure_into(OpenFile& open, const ResolvedSpectrum& spectrum, const SpectrumHooks& hooks,
                  const Ranks& ranks) {
  std::int64_t products = 0, number = 0;
  return std::ranges::all_of(spectrum.points, [&](const MeasuredPoint& point) {
    lead_curvature(ranks, number++);
    return measure_point(open, spectrum, point, products, hooks, ranks);
  });
}

}  // namespace

ResolvedSpectrum resolve_spectrum(RunConfig config, std::int64_t ranks) {
  auto data = open_data(config);
  require_examples(config.hessian, *data);
  auto layout = config.model.spec->layout();
  auto [points, models] = points_of(config, layout);
  auto hash = config_hash(config);
  auto plan = plan_spectrum(config, *data, layout, ranks);
  require_memory(config, plan, resolve_device(config.trainer.device));
  auto& tables = plan.measurement.tables;
  tables.examples = measured_examples(config.hessian, *data);
  tables.points = points;
  return {std::move(config), std::move(hash),   std::move(data),  std::move(layout),
          std::move(plan),   std::move(points), std::move(models)};
}

SpectrumOutcome measure_spectrum(const ResolvedSpectrum& spectrum, const SpectrumHooks& hooks,
                                 const Ranks& ranks) {
  const auto& config = spectrum.config;
  const auto device = resolve_device(config.trainer.device);
  const int threads = set_threads(config.trainer.threads);
  if (!ranks.is_first()) return serve_points(spectrum, device, ranks);
  const OutputFolder taken(config.output);
  if (auto before = finished_before(spectrum)) {
    lead_end(ranks, before->state);
    return std::move(*before);
  }
  auto provenance = make_provenance(device, threads, spectrum.config.seed);
  provenance.ranks = ranks.size();
  auto open = open_file(spectrum, provenance);
  auto& file = open.file;
  write_file_atomically(fs::path(config.output) / "config.yaml", to_yaml(config));
  try {
    const bool finished = measure_into(open, spectrum, hooks, ranks);
    const auto state = finished ? RunState::finished : RunState::interrupted;
    lead_end(ranks, state);
    set_state(file, state, finished ? "" : "stopped by " + hooks.stopped_by());
    auto rows = read_hessian_rows(file);
    file.close();
    return {state, file_of(config).string(), std::move(rows), spectrum.plan.measurement.tables};
  } catch (const std::exception& error) {
    record_failure(file, error.what());
    throw;
  }
}

}  // namespace blockwise
