#include "experiments/partition_discovery.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "core/device.hpp"
#include "core/error.hpp"
#include "core/io/atomic_file.hpp"
#include "core/io/folder_lock.hpp"
#include "core/memory_meter.hpp"
#include "core/partition_candidates.hpp"
#include "core/random_stream.hpp"
#include "experiments/config_text.hpp"
#include "experiments/hessian_batches.hpp"
#include "experiments/measured_store.hpp"
#include "experiments/provenance.hpp"
#include "experiments/second_moments.hpp"
#include "experiments/stop_signal.hpp"
#include "hessian/dense.hpp"
#include "hessian/moment_evidence.hpp"
#include "hessian/partition_energies.hpp"
#include "hessian/saved_tensors.hpp"

namespace blockwise {
namespace {

namespace fs = std::filesystem;
constexpr const char* kGroup = "/probes";

// ---- candidates ---------------------------------------------------------------------------------

bool has_blocks(const PartitionSection& s) { return s.structure.kind == Structure::Kind::tiles; }

SectionScores candidates_of(const DiscoveryConfig& config, std::size_t tensor,
                            const SectionView& view, std::int64_t row) {
  SectionScores section{tensor, view.is_matrix, {}, 0};
  for (const auto& candidate : partition_candidates()) {
    const bool fits = view.is_matrix ? config.uses(candidate.name) : candidate.name == "element";
    const auto structure = fits ? candidate.structure(view) : std::nullopt;
    if (!structure) continue;
    CandidateScore score{candidate.name,
                         {view.role, candidate.name, row, view.rows, view.columns, *structure}};
    score.lift = score.lift_error = std::numeric_limits<double>::quiet_NaN();
    section.candidates.push_back(std::move(score));
  }
  return section;
}

std::vector<SectionScores> all_sections(const DiscoveryConfig& config,
                                        const ParameterLayout& layout) {
  std::vector<SectionScores> sections;
  for (std::size_t t = 0; t < layout.blocks().size(); ++t) {
    std::int64_t row = 0;
    for (const auto& view : section_views(layout.blocks()[t])) {
      sections.push_back(candidates_of(config, t, view, row));
      row += view.rows;
    }
  }
  return sections;
}

// Names of candidates with blocks, that any section has.
std::vector<std::string> level_names(const std::vector<SectionScores>& sections) {
  std::vector<std::string> names;
  for (const auto& candidate : partition_candidates()) {
    const bool used = std::ranges::any_of(sections, [&](const auto& section) {
      return section.is_matrix && std::ranges::any_of(section.candidates, [&](const auto& c) {
               return c.name == candidate.name && has_blocks(c.section);
             });
    });
    if (used) names.push_back(candidate.name);
  }
  return names;
}

std::vector<std::size_t> searched_tensors(const ParameterLayout& layout) {
  std::vector<std::size_t> tensors;
  for (std::size_t t = 0; t < layout.blocks().size(); ++t) {
    if (layout.blocks()[t].is_matrix()) tensors.push_back(t);
  }
  return tensors;
}

void require_small_matrices(const ParameterLayout& layout) {
  for (const auto tensor : searched_tensors(layout)) {
    const auto& block = layout.blocks()[tensor];
    require_input(block.size() <= kLargestDense,
                  "hessian.exact: tensor '{}' has {} parameters, a matrix is made up to {}",
                  block.name, block.size(), kLargestDense);
  }
}

// ---- what is measured ---------------------------------------------------------------------------

class Discovery {
 public:
  Discovery(const ResolvedDiscovery& discovery, const ProductObserver& observe)
      : d_(discovery),
        c_(discovery.config.discovery),
        observe_(observe),
        folder_(discovery.config.output),
        device_(resolve_device(discovery.config.trainer.device)),
        threads_(set_threads(discovery.config.trainer.threads)),
        store_(measured_store(discovery.config, discovery.layout, device_)),
        model_(discovery.config.model.spec->build(*store_)),
        sections_(all_sections(c_, discovery.layout)) {
    for (const auto& section : sections_) {
      const auto& block = d_.layout.blocks()[section.tensor];
      const auto& s = section.candidates.front().section;
      ranges_.push_back({place(section.tensor) + s.row_begin * block.columns(), s.size()});
    }
    for (std::size_t s = 0; s < sections_.size(); ++s) {
      if (!sections_[s].is_matrix) continue;
      const auto begin =
          searched_.empty() ? 0 : searched_ranges_.back().begin + searched_ranges_.back().size;
      searched_.push_back(s);
      searched_ranges_.push_back({begin, ranges_[s].size});
    }
  }

  DiscoveryOutcome run(const std::string& program, std::int64_t jobs) {
    if (c_.needs_products() && !(d_.config.hessian.exact ? exact_energies() : energies()))
      return {};
    moments();
    DiscoveryOutcome outcome;
    if (!c_.by_loss()) {
      propose(c_.objective);
    } else if (!search_by_loss(program, jobs, outcome)) {
      return {};
    }
    auto partition = chosen_partition(d_.layout, "discovered by " + c_.objective, sections_);
    const auto path = folder_ / "partition.yaml";
    validate(outcome.validation);
    write_file_atomically(path, partition_text(d_.layout, file_of(partition, outcome.validation)));
    fs::remove(state_path());
    outcome.finished = true;
    outcome.file = path.string();
    outcome.partition = std::move(partition);
    outcome.sections = std::move(sections_);
    return outcome;
  }

 private:
  fs::path state_path() const { return folder_ / "probes.h5"; }

  // Where the tensor begins in a packed vector of all.
  std::int64_t place(std::size_t tensor) const {
    std::int64_t begin = 0;
    for (std::size_t t = 0; t < tensor; ++t) begin += d_.layout.blocks()[t].size();
    return begin;
  }

  // A section's elements in the order in which structures see them: a random one for the control.
  at::Tensor order(std::size_t section) const {
    const auto size = ranges_[section].size;
    if (!c_.shuffle) return at::arange(size, at::kLong);
    auto generator = make_generator(static_cast<std::uint64_t>(c_.seed), RandomStream::probe,
                                    std::uint64_t{1} << 41, section);
    return at::randperm(size, generator, at::kLong);
  }

  at::Tensor labels_of(std::size_t section, const PartitionSection& part) const {
    auto alone = part;
    alone.row_begin = 0;
    return at::tensor(TensorPartition{{alone}}.labels(), at::kLong).index_select(0, order(section));
  }

  // Of the searched sections; one without the candidate is one block.
  EnergyLevel level(const std::string& name) const {
    EnergyLevel level;
    std::vector<at::Tensor> labels;
    for (const auto s : searched_) {
      const auto& candidates = sections_[s].candidates;
      const auto found = std::ranges::find(candidates, name, &CandidateScore::name);
      const bool split = found != candidates.end();
      labels.push_back(split ? labels_of(s, found->section) + level.block_count
                             : at::full({ranges_[s].size}, level.block_count, at::kLong));
      level.block_count += split ? found->section.block_count() : 1;
    }
    level.labels = at::cat(labels);
    return level;
  }

  std::unique_ptr<LinearOperator> searched_operator(Curvature& curvature) const {
    const auto kind = d_.config.hessian.curvature_kind();
    const auto matrices = searched_tensors(d_.layout);
    if (c_.scope == "model") {
      return std::make_unique<CurvatureOperator>(curvature, kind,
                                                 ParameterSubset(d_.layout, matrices));
    }
    std::vector<ParameterSubset> each;
    for (const auto tensor : matrices) each.emplace_back(d_.layout, std::vector{tensor});
    return std::make_unique<BlockDiagonalOperator>(curvature, kind, each);
  }

  bool energies() {
    const auto& h = d_.config.hessian;
    const auto batches = hessian_batches(h, *d_.data, device_, h.dtype());
    Curvature curvature(*model_, *store_, batches, h.product_method());
    const auto a = searched_operator(curvature);
    const auto names = level_names(sections_);
    std::vector<EnergyLevel> levels;
    for (const auto& name : names) levels.push_back(level(name));
    PartitionProbes probes(*a, searched_ranges_, std::move(levels), c_.code_plan());
    if (fs::exists(state_path())) probes.load(open_state(), kGroup);
    const bool finished = probes.run([&] { observe_(++products_, "energies"); },
                                     [&] {
                                       save(probes);
                                       return !stop_requested();
                                     });
    if (finished) take_energies(names, probes.result());
    return finished;
  }

  Hdf5File open_state() const {
    auto file = Hdf5File::open_for_reading(state_path());
    const auto hash = file.text_attribute(kGroup, "hash");
    require_input(hash == d_.hash,
                  "{}: a search with another configuration (hash {}, this one is {}). Give this "
                  "one another --output, or delete the file.",
                  state_path().string(), hash, d_.hash);
    return file;
  }

  void save(const PartitionProbes& probes) const {
    save_state(state_path(), [&](Hdf5File& file) {
      probes.save(file, kGroup);
      file.set_attribute(kGroup, "hash", d_.hash);
    });
  }

  void take_energies(const std::vector<std::string>& names, const PartitionEnergies& energies) {
    const auto whole = std::ranges::find(names, "whole") - names.begin();
    const auto& all = energies.inside[static_cast<std::size_t>(whole)];
    for (std::size_t l = 0; l < names.size(); ++l) {
      for (std::int64_t place = 0; place < std::ssize(searched_); ++place) {
        const auto s = searched_[static_cast<std::size_t>(place)];
        auto& candidates = sections_[s].candidates;
        const auto found = std::ranges::find(candidates, names[l], &CandidateScore::name);
        if (found == candidates.end()) continue;
        take_share(*found, s, energies.inside[l].select(1, place), all.select(1, place),
                   energies.diagonal[place].item<double>());
      }
    }
  }

  // The share is a ratio of means over vectors; its error is the spread of inside - share * whole.
  void take_share(CandidateScore& candidate, std::size_t section, const at::Tensor& inside,
                  const at::Tensor& whole, double diagonal) const {
    const double energy = whole.mean().item<double>();
    if (energy <= 0.0) return;
    candidate.share = inside.mean().item<double>() / energy;
    const auto deviations = ((inside - candidate.share * whole) / energy).contiguous();
    const auto* first = deviations.data_ptr<double>();
    candidate.deviations.assign(first, first + deviations.numel());
    const double error = deviations.std().item<double>() / std::sqrt(double(deviations.numel()));
    take_lift(candidate, section, error, diagonal / energy);
  }

  void take_lift(CandidateScore& candidate, std::size_t section, double share_error,
                 double diagonal_share) const {
    candidate.chance =
        random_share(labels_of(section, candidate.section), candidate.section.block_count(),
                     std::clamp(diagonal_share, 0.0, 1.0));
    if (candidate.name == "whole" || candidate.chance >= 1.0) return;
    candidate.lift = coupling_lift(candidate.share, candidate.chance);
    candidate.lift_error = share_error / (1.0 - candidate.chance);
  }

  // Every searched tensor's diagonal block as a matrix.
  bool exact_energies() {
    const auto& h = d_.config.hessian;
    Curvature curvature(*model_, *store_, hessian_batches(h, *d_.data, device_, h.dtype()),
                        h.product_method());
    for (const auto tensor : searched_tensors(d_.layout)) {
      if (stop_requested()) return false;
      const CurvatureOperator a(curvature, h.curvature_kind(),
                                ParameterSubset(d_.layout, {tensor}));
      take_matrix(tensor, to_dense(a));
      observe_(++products_, d_.layout.blocks()[tensor].name);
    }
    return true;
  }

  void take_matrix(std::size_t tensor, const at::Tensor& matrix) {
    for (const auto s : searched_) {
      if (sections_[s].tensor != tensor) continue;
      const auto begin = ranges_[s].begin - place(tensor);
      const auto own = matrix.narrow(0, begin, ranges_[s].size).narrow(1, begin, ranges_[s].size);
      const double energy = own.square().sum().item<double>();
      const double diagonal = own.diagonal().square().sum().item<double>();
      for (auto& candidate : sections_[s].candidates) {
        if (!has_blocks(candidate.section) || energy == 0.0) continue;
        candidate.share = inside_energy(own, labels_of(s, candidate.section)) / energy;
        take_lift(candidate, s, 0.0, diagonal / energy);
      }
    }
  }

  // ---- gradients

  void moments() {
    const auto moments =
        second_moments(*model_, *store_, *d_.data, d_.config.hessian, c_.gradient_batches,
                       [&] { observe_(++products_, "second moments"); });
    for (std::size_t s = 0; s < sections_.size(); ++s) {
      if (!sections_[s].is_matrix) continue;
      std::vector<at::Tensor> v;
      at::Tensor mean;
      for (const auto& moment : moments) {
        v.push_back(part_of(moment, s));
        mean = mean.defined() ? mean + v.back() : v.back();
      }
      for (auto& candidate : sections_[s].candidates) {
        const auto found = inside_log_variance(v, candidate.section);
        candidate.inside = found.share;
        candidate.inside_error = found.standard_error;
        candidate.signal_to_noise = signal_to_noise(mean, candidate.section);
      }
    }
  }

  // Unused rows have v = 0, of which there is no logarithm: they get the smallest value that is.
  at::Tensor part_of(const at::Tensor& moment, std::size_t s) const {
    const auto& section = sections_[s].candidates.front().section;
    auto v = moment.narrow(0, ranges_[s].begin, ranges_[s].size);
    const auto positive = v.masked_select(v.gt(0.0));
    const double floor = positive.numel() > 0 ? positive.min().item<double>() : 1.0;
    v = v.clamp_min(floor);
    if (c_.shuffle) v = v.index_select(0, order(s).argsort());
    return v.view({section.rows, section.columns});
  }

  // ---- the choice

  void propose(const std::string& objective) {
    auto config = c_;
    config.objective = objective;
    score(config, sections_);
    choose(config, d_.layout.size(), sections_);
  }

  PartitionChoice chosen() const {
    PartitionChoice choice;
    for (const auto& section : sections_) choice.push_back(section.chosen);
    return choice;
  }

  PartitionChoice adam_mini_choice() const {
    PartitionChoice choice;
    for (const auto& section : sections_) {
      const auto* candidate = section.is_matrix ? adam_mini_candidate(section) : nullptr;
      const auto* first = section.candidates.data();
      choice.push_back(candidate == nullptr ? 0 : std::size_t(candidate - first));
    }
    return choice;
  }

  std::vector<Proposal> proposals() {
    std::vector<Proposal> all = {{"adam_mini", adam_mini_choice()}};
    for (const std::string objective : {"homogeneity", "energy"}) {
      propose(objective);
      all.push_back({objective, chosen()});
    }
    return all;
  }

  Partition partition_of(const PartitionChoice& choice) const {
    auto sections = sections_;
    for (std::size_t s = 0; s < sections.size(); ++s) sections[s].chosen = choice[s];
    return chosen_partition(d_.layout, "trial", sections);
  }

  // The run with the partition; named by it, so that equal partitions are one arm.
  Arm trial(const PartitionChoice& choice) const {
    const auto partition = partition_of(choice);
    const auto id = partition_hash(d_.layout, partition).substr(0, 12);
    const auto path = folder_ / "trials/partitions" / (id + ".yaml");
    fs::create_directories(path.parent_path());
    if (!fs::exists(path))
      write_file_atomically(path, partition_text(d_.layout, {partition, {}, {}, {}}));
    auto config = trial_run(d_.config, c_.trial_steps);
    config.optimizer.partition = {};
    config.optimizer.partition.file = path.string();
    return {id, config};
  }

  bool search_by_loss(const std::string& program, std::int64_t jobs, DiscoveryOutcome& outcome) {
    PairedTrials trials(folder_ / "trials", {program, jobs, c_.max_trials, c_.trial_seeds});
    const auto all = proposals();
    auto found = search_roles(
        sections_, d_.layout.size(), all,
        [&](const PartitionChoice& choice) { return trial(choice); }, {c_.max_state, c_.tolerance},
        trials);
    if (found.result == PairedTrials::Result::stopped) return false;
    write_file_atomically(folder_ / "decisions.csv", decisions_csv(found.decisions));
    for (std::size_t s = 0; s < sections_.size(); ++s) sections_[s].chosen = found.choice[s];
    outcome.decisions = std::move(found.decisions);
    outcome.exhausted = found.result == PairedTrials::Result::exhausted;
    return true;
  }

  // ---- validation

  // Of all matrices side by side.
  at::Tensor chosen_labels(std::int64_t& blocks) const {
    std::vector<at::Tensor> labels;
    for (const auto s : searched_) {
      const auto& section = sections_[s].candidates[sections_[s].chosen].section;
      labels.push_back(labels_of(s, section) + blocks);
      blocks += section.block_count();
    }
    return at::cat(labels);
  }

  void validate(std::vector<PartitionValidation>& found) {
    if (c_.validation_vectors == 0 || !c_.needs_products()) return;
    const auto& h = d_.config.hessian;
    std::int64_t blocks = 0;
    const auto labels = chosen_labels(blocks);
    // Codes of another seed than the search's.
    const auto seed = stream_seed(c_.code_plan().seed, RandomStream::probe, 1);
    const CodePlan plan{c_.validation_vectors, c_.codes, seed};
    for (const std::string which : {"the same", "other"}) {
      Curvature curvature(
          *model_, *store_,
          hessian_batches(h, *d_.data, device_, h.dtype(), which == "other" ? 1 : 0),
          h.product_method());
      const CurvatureOperator a(curvature, h.curvature_kind(),
                                ParameterSubset(d_.layout, searched_tensors(d_.layout)));
      const auto energies = block_energies(a, labels, blocks, plan);
      found.push_back({which, energies.share, energies.share_error});
      observe_(products_ += energies.products, "validation");
    }
  }

  // ---- the file

  PartitionFile file_of(const Partition& partition,
                        const std::vector<PartitionValidation>& validation) const {
    PartitionFile file;
    file.partition = partition;
    file.provenance = {{"program", program_version()},
                       {"configuration", d_.hash},
                       {"objective", c_.objective},
                       {"model", d_.config.model.from.empty() ? "fresh" : "trained"},
                       {"products", fmt::format("{}", c_.needs_products() ? d_.products : 0)},
                       {"gradients", fmt::format("{:.0f}", d_.gradients)},
                       {"shuffled", c_.shuffle ? "yes" : "no"}};
    for (const auto& v : validation) {
      file.provenance.emplace_back(
          v.batches == "other" ? "validation_other_batches" : "validation",
          fmt::format("{:.4f} ± {:.4f} of the Hessian's energy", v.share, v.share_error));
    }
    file.evidence.resize(d_.layout.blocks().size());
    for (const auto& section : sections_) {
      const auto& c = section.candidates[section.chosen];
      Evidence evidence;
      if (section.is_matrix) {
        evidence = {{"loss", c.loss},
                    {"loss_error", c.loss_error},
                    {"lift", c.lift},
                    {"lift_error", c.lift_error},
                    {"inside", c.inside},
                    {"inside_error", c.inside_error},
                    {"signal_to_noise", c.signal_to_noise}};
      }
      file.evidence[section.tensor].push_back(evidence);
    }
    return file;
  }

  const ResolvedDiscovery& d_;
  const DiscoveryConfig& c_;
  const ProductObserver& observe_;
  fs::path folder_;
  at::Device device_;
  int threads_;
  std::unique_ptr<ParameterStore> store_;
  std::unique_ptr<Model> model_;
  std::vector<SectionScores> sections_;
  std::vector<VectorSection> ranges_;  // of every section in the vector of all parameters
  // Sections of matrices: their numbers, and where they are in the vector of all matrices.
  std::vector<std::size_t> searched_;
  std::vector<VectorSection> searched_ranges_;
  std::int64_t products_ = 0;
};

}  // namespace

double PartitionValidation::cosine() const { return std::sqrt(std::clamp(share, 0.0, 1.0)); }

double PartitionValidation::relative_error() const {
  return std::sqrt(std::clamp(1.0 - share, 0.0, 1.0));
}

namespace {

void require_trial_rule(const OptimizerConfig& optimizer) {
  require_input(optimizer.spec->uses_partition(),
                "discovery.objective is loss: trials train with optimizer.rule, and '{}' has no "
                "partition; --set optimizer.rule=adam_mini",
                optimizer.rule);
}

}  // namespace

ResolvedDiscovery resolve_discovery(RunConfig config) {
  if (config.discovery.by_loss()) require_trial_rule(config.optimizer);
  std::shared_ptr<const Dataset> data =
      config.data.spec->open(static_cast<std::uint64_t>(config.seed));
  config.model.spec->adapt_to(data->shape());
  ResolvedDiscovery discovery{{}, {}, data, config.model.spec->layout(), 0, 0, 0.0, {}};
  const auto& c = config.discovery;
  const auto& h = config.hessian;
  const auto levels = std::ssize(level_names(all_sections(c, discovery.layout)));
  if (h.exact) require_small_matrices(discovery.layout);
  discovery.products = c.needs_products() ? levels * c.vectors * c.codes : 0;
  discovery.units = discovery.products;
  if (c.needs_products() && h.exact) {
    const auto tensors = searched_tensors(discovery.layout);
    discovery.units = std::ssize(tensors);
    discovery.products = 0;
    for (const auto t : tensors) discovery.products += discovery.layout.blocks()[t].size();
  }
  discovery.units += c.gradient_batches / kMomentGroups * kMomentGroups;
  const auto validation = c.needs_products() ? 2 * c.validation_vectors * c.codes : 0;
  discovery.units += validation;
  const auto parts =
      c.scope == "tensor" && !h.exact ? std::ssize(searched_tensors(discovery.layout)) : 1;
  discovery.gradients = double(discovery.products * parts + validation) *
                            product_cost(h.product_method(), h.curvature_kind()) +
                        double(c.gradient_batches) / double(h.batches);
  discovery.memory =
      product_memory(*config.model.spec, h.dtype(), hessian_batch_shape(h, *data, h.dtype()),
                     h.batches, h.product_method(), h.curvature_kind());
  const auto available = available_bytes(resolve_device(config.trainer.device));
  require_input(available == 0 || discovery.memory.peak <= available,
                "partition: this takes {:.2f} GiB, {:.2f} GiB are available. Smaller: "
                "hessian.batches or batch_size, method fresh_graph or finite_difference",
                double(discovery.memory.peak) / double(1 << 30),
                double(available) / double(1 << 30));
  discovery.hash = config_hash(config);
  discovery.config = std::move(config);
  return discovery;
}

DiscoveryOutcome discover_partition(const ResolvedDiscovery& discovery, const std::string& program,
                                    std::int64_t jobs, const ProductObserver& observe) {
  fs::create_directories(discovery.config.output);
  const FolderLock lock(discovery.config.output);
  write_file_atomically(fs::path(discovery.config.output) / "config.yaml",
                        to_yaml(discovery.config));
  return Discovery(discovery, observe).run(program, jobs);
}

}  // namespace blockwise
