// Data sets. The batch of step t is a pure function of (seed, t): resuming needs no loader state,
// and two runs with one seed see the same examples in the same order, whatever their optimizer and
// however the batch is split into micro-batches.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/base/batch.hpp"
#include "core/base/fields.hpp"
#include "core/base/held_out_set.hpp"
#include "core/base/registry.hpp"

namespace blockwise {

// Training examples in a run's endless sequence, or as they lie in the data.
enum class ExampleOrder { sampled, sequential };

// Where an example begins: the file and its token, counted from 0 in that file. Without a file the
// place in data that are made up.
struct ExamplePlace {
  std::string file;
  std::int64_t position = 0;
};

class Dataset {
 public:
  virtual ~Dataset() = default;
  virtual DataShape shape() const = 0;
  // Examples first .. first + count - 1 of the endless training sequence. Step t of a run whose
  // global batch has G examples takes examples t * G .. t * G + G - 1.
  virtual Batch training_examples(std::int64_t first, std::int64_t count) const = 0;
  // The training data from their start, each example once and none twice: examples 0 ..
  // sequential_size() - 1. The same for every seed.
  virtual std::int64_t sequential_size() const = 0;
  virtual Batch sequential_examples(std::int64_t first, std::int64_t count) const = 0;
  // Of the index-th training example in that order.
  virtual ExamplePlace place(ExampleOrder order, std::int64_t index) const = 0;
  // Whether there may be targets that do not count (kIgnoredTarget).
  virtual bool ignores_targets() const { return false; }
  // The fixed validation examples; the same at every evaluation of every run.
  virtual std::int64_t validation_size() const = 0;
  virtual Batch validation_examples(std::int64_t first, std::int64_t count) const = 0;
  HeldOutSet validation_set() const {
    return {"validation", validation_size(),
            [this](auto first, auto count) { return validation_examples(first, count); }};
  }
  // Further ones by name, for the record.
  virtual std::vector<HeldOutSet> further_validation_sets() const { return {}; }
  // What no choice may see: a run evaluates it once, after its last step.
  virtual std::optional<HeldOutSet> test_set() const { return std::nullopt; }
};

class DatasetSpec {
 public:
  virtual ~DatasetSpec() = default;
  virtual std::string kind() const = 0;
  virtual std::string doc() const = 0;
  virtual void visit(FieldVisitor& visitor) = 0;
  // Throws InputError naming the file for anything missing or damaged.
  virtual std::unique_ptr<Dataset> open(std::uint64_t seed) const = 0;
  // What the options say of the shape without reading the data; 0 where only the data knows.
  virtual DataShape stated_shape() const = 0;
  // The number of classes of the model that reads the data, for data that do not say theirs.
  virtual void assume_classes(std::int64_t) {}
  // Where the data and its manifest lie; empty for data that is made up.
  virtual std::filesystem::path folder() const { return {}; }
  virtual std::unique_ptr<DatasetSpec> clone() const = 0;
};

// The table of core/data/registry.inc.
const Registry<DatasetSpec>& dataset_kinds();

}  // namespace blockwise
