#include "experiments/spectrum.hpp"

#include <ATen/ATen.h>

#include <optional>
#include <utility>

#include "core/device.hpp"
#include "core/error.hpp"
#include "core/io/atomic_file.hpp"
#include "core/io/folder_lock.hpp"
#include "core/io/input_file.hpp"
#include "core/memory_meter.hpp"
#include "experiments/config_text.hpp"
#include "experiments/hessian_batches.hpp"
#include "experiments/hessian_measurement.hpp"
#include "experiments/hessian_row_checks.hpp"
#include "experiments/measured_store.hpp"
#include "experiments/provenance.hpp"
#include "experiments/stop_signal.hpp"

namespace blockwise {
namespace {

namespace fs = std::filesystem;
const FileFormat kFormat = {"blockwise-spectrum", 1};

fs::path file_of(const RunConfig& config) { return fs::path(config.output) / "spectrum.h5"; }

SpectrumPlan plan_spectrum(const RunConfig& config, const Dataset& data,
                           const ParameterLayout& layout) {
  SpectrumPlan plan;
  const auto& h = config.hessian;
  require_measured_store(config, layout, resolve_device(config.trainer.device));
  plan.measurement = plan_measurement(h, layout);
  plan.memory =
      product_memory(*config.model.spec, h.dtype(), hessian_batch_shape(h, data, h.dtype()),
                     h.batches, h.product_method(), h.curvature_kind());
  plan.peak_bytes = plan.memory.peak + plan.measurement.basis_bytes;
  plan.available_bytes = available_bytes(resolve_device(config.trainer.device));
  return plan;
}

void require_memory(const SpectrumPlan& plan) {
  const auto gib = [](std::int64_t bytes) { return double(bytes) / double(1 << 30); };
  require_input(plan.available_bytes == 0 || plan.peak_bytes <= plan.available_bytes,
                "hessian: this takes {:.2f} GiB ({:.2f} for the model and a product, {:.2f} for "
                "Lanczos vectors), {:.2f} GiB are available. Smaller: hessian.batches or "
                "batch_size, method fresh_graph or finite_difference, fewer lanczos_steps, "
                "reorthogonalisation none",
                gib(plan.peak_bytes), gib(plan.memory.peak), gib(plan.measurement.basis_bytes),
                gib(plan.available_bytes));
}

// ---- the file -----------------------------------------------------------------------------------

Hdf5File create_file(const ResolvedSpectrum& spectrum, const Provenance& provenance) {
  auto file = Hdf5File::create(file_of(spectrum.config));
  write_header(file, kFormat, to_yaml(spectrum.config), spectrum.hash, provenance);
  create_hessian_tables(file, spectrum.layout, spectrum.plan.measurement.tables);
  if (spectrum.config.hessian.exact) {
    create_exact_matrices(file, spectrum.plan.measurement.tables.blocks);
  }
  if (spectrum.config.hessian.diagonal_products > 0) {
    create_vectors(file, spectrum.plan.measurement.tables.blocks);
  }
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
  return SpectrumOutcome{RunState::finished, path.string(), read_rows_of(file, spectrum),
                         spectrum.plan.measurement.tables};
}

struct OpenFile {
  Hdf5File file;
  HessianRows done;  // what an interrupted measurement left
};

OpenFile open_file(const ResolvedSpectrum& spectrum, const Provenance& provenance) {
  const auto path = file_of(spectrum.config);
  if (!input_exists(path)) {
    OpenFile created{create_file(spectrum, provenance), {}};
    created.file.start_swmr();
    return created;
  }
  auto file = Hdf5File::open_for_appending(path);
  keep_complete_hessian_rows(file);
  auto done = read_rows_of(file, spectrum);
  file.write_enum("/status/state", static_cast<std::int64_t>(RunState::running));
  file.start_swmr();
  return {std::move(file), std::move(done)};
}

// ---- the measurement ----------------------------------------------------------------------------

// False: a signal stopped it.
bool measure_into(Hdf5File& file, const HessianRows& done, const ResolvedSpectrum& spectrum,
                  at::Device device, const ProductObserver& observe) {
  const auto& config = spectrum.config;
  const MemoryMeter meter(device);
  const auto store = measured_store(config, spectrum.layout, device);
  const auto model = config.model.spec->build(*store);
  std::int64_t products = 0;
  const MeasurementSinks sinks = {
      [&](const HessianRows& rows) { append_hessian_rows(file, rows); },
      [&](std::size_t block, const at::Tensor& matrix) { write_exact_matrix(file, block, matrix); },
      [&](std::size_t block, const auto& vectors) { write_vectors(file, block, vectors); },
      [&](const std::string& what) { observe(++products, what); },
      stop_requested,
      [&] { return meter.peak_allocated(); }};
  Curvature curvature(
      *model, *store,
      hessian_batches(config.hessian, *spectrum.data, device, config.hessian.dtype()),
      config.hessian.product_method());
  return measure_hessian(config.hessian, spectrum.plan.measurement.tables, curvature, 0, done,
                         fs::path(config.output) / "lanczos.h5", sinks);
}

}  // namespace

ResolvedSpectrum resolve_spectrum(RunConfig config) {
  std::shared_ptr<const Dataset> data =
      config.data.spec->open(static_cast<std::uint64_t>(config.seed));
  config.model.spec->adapt_to(data->shape());
  auto layout = config.model.spec->layout();
  auto hash = config_hash(config);
  auto plan = plan_spectrum(config, *data, layout);
  require_memory(plan);
  return {std::move(config), std::move(hash), std::move(data), std::move(layout), std::move(plan)};
}

SpectrumOutcome measure_spectrum(const ResolvedSpectrum& spectrum, const ProductObserver& observe) {
  const auto& config = spectrum.config;
  const auto device = resolve_device(config.trainer.device);
  const int threads = set_threads(config.trainer.threads);
  fs::create_directories(config.output);
  const FolderLock lock(config.output);
  if (auto before = finished_before(spectrum)) return std::move(*before);
  auto [file, done] = open_file(spectrum, make_provenance(device, threads, spectrum.config.seed));
  write_file_atomically(fs::path(config.output) / "config.yaml", to_yaml(config));
  try {
    const bool finished = measure_into(file, done, spectrum, device, observe);
    const auto state = finished ? RunState::finished : RunState::interrupted;
    set_state(file, state, finished ? "" : "stopped by a signal");
    auto rows = read_hessian_rows(file);
    file.close();
    return {state, file_of(config).string(), std::move(rows), spectrum.plan.measurement.tables};
  } catch (const std::exception& error) {
    record_failure(file, error.what());
    throw;
  }
}

}  // namespace blockwise
