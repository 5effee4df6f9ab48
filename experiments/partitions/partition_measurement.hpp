// What speaks for every candidate of every section of a model, measured at one point on fixed
// batches.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "core/io/hdf5_file.hpp"
#include "experiments/curvature/spectrum.hpp"
#include "experiments/partitions/discovery_point.hpp"
#include "experiments/partitions/section_vectors.hpp"
#include "hessian/evidence/off_diagonal_share.hpp"

namespace blockwise {

class PartitionMeasurement {
 public:
  // Keeps references; fills `sections`. `observe` is told after every unit of work; `state` is
  // where the vectors that are done are kept.
  PartitionMeasurement(const DiscoveryPoint& point, const SectionVectors& vectors,
                       std::vector<SectionScores>& sections, std::string state,
                       const std::function<void(const std::string&)>& observe);

  // share, lift, diagonal_inside. False: a signal stopped it; another call goes on, with the same
  // bits.
  bool energies();
  // inside, spread and signal_to_noise. False: stopped.
  bool moments();
  // condition of a sample of blocks: of one section per role, as it is chosen and as adam_mini has
  // it. False: stopped.
  bool conditions();

 private:
  using Diagonals = std::vector<at::Tensor>;  // independent estimates, of all matrices

  bool probed_energies();
  bool exact_energies();
  void load(PartitionProbes& probes) const;
  void save(const PartitionProbes& probes) const;
  void take_energies(const std::vector<std::string>& names, const PartitionEnergies& energies);
  void take_samples(std::size_t section, CandidateScore& candidate, const EnergySamples& samples);
  // Of the off-diagonal energy the share inside blocks, and its error.
  void take_lift(std::size_t section, CandidateScore& candidate, double share, double error,
                 double diagonal_share) const;
  void take_matrix(std::size_t tensor, const at::Tensor& matrix);
  void take_diagonal(std::size_t section, const Diagonals& estimates);
  double condition(Curvature& curvature, std::size_t section, const CandidateScore& candidate);

  const DiscoveryPoint& point_;
  const ResolvedDiscovery& d_;
  const DiscoveryConfig& c_;
  const SectionVectors& vectors_;
  std::vector<SectionScores>& sections_;
  std::string state_;
  const std::function<void(const std::string&)>& observe_;
};

}  // namespace blockwise
