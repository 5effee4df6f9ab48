// Data set `tokens`: training and validation token files, cut into windows. Masks beside them say
// which targets count (core/data/token_mask.hpp).
#include <ATen/ATen.h>

#include <algorithm>
#include <optional>
#include <set>

#include "core/base/error.hpp"
#include "core/data/sampler.hpp"
#include "core/data/token_sequence.hpp"
#include "core/dataset.hpp"
#include "core/io/input_file.hpp"

namespace blockwise {
namespace {

namespace fs = std::filesystem;

struct TokenOptions {
  std::string train;
  std::string validation;
  std::string test;
  TextMap validations;
  std::string format = "auto";
  std::int64_t sequence_length = 128;
  std::int64_t validation_tokens = 0;
  std::int64_t vocab_size = 0;
};

std::vector<fs::path> require_files(const std::string& place) {
  const auto files = find_token_files(place);
  const auto folder = files.front().parent_path();
  require_input(
      input_exists(files.front()),
      "{}: there is no such token file. `make corpus` makes data/austen-byte; `blockwise data "
      "--train TEXT --validation TEXT --output {}` makes token files of any text",
      place, folder.empty() ? "." : folder.string());
  return files;
}

using Files = std::vector<fs::path>;

void require_disjoint(const Files& first, const std::string& first_text, const Files& second,
                      const std::string& second_text) {
  std::set<fs::path> known;
  for (const auto& file : first) known.insert(fs::weakly_canonical(file));
  for (const auto& file : second) {
    require_input(!known.contains(fs::weakly_canonical(file)), "{}: is in {} and in {}",
                  file.string(), first_text, second_text);
  }
}

// A folder or a pattern that takes more than was meant would train on the validation text. One and
// the same file for both is a wish that somebody wrote down.
void require_apart(const TokenOptions& o, const Files& train, const Files& judged,
                   const std::string& judged_text) {
  if (train.size() == 1 && judged.size() == 1) return;
  require_disjoint(train, fmt::format("the training files ({})", o.train), judged,
                   judged_text +
                       "; name them apart, for example with the patterns train*.bin and "
                       "validation*.bin");
}

// A test set that a run trained on, or was chosen by, tests nothing: here a wish counts less.
Files test_files(const TokenOptions& o, const Files& train, const Files& validation) {
  if (o.test.empty()) return {};
  auto test = require_files(o.test);
  const auto ours = fmt::format("the test files ({}), which no choice may see", o.test);
  require_disjoint(train, fmt::format("the training files ({})", o.train), test, ours);
  require_disjoint(validation, fmt::format("the validation files ({})", o.validation), test, ours);
  return test;
}

fs::path manifest_of(const fs::path& token_file) {
  return token_file.parent_path() / "manifest.json";
}

// What made a folder's tokens, as its manifest says; nothing where there is no manifest of ours.
struct Encoding {
  TokenManifest manifest;
  std::string tokenizer;  // the content of tokenizer.json; empty where there is none
};

std::optional<Encoding> encoding_of(const fs::path& token_file) {
  try {
    const auto tokenizer = token_file.parent_path() / "tokenizer.json";
    return Encoding{read_token_manifest(token_file),
                    input_exists(tokenizer) ? read_text_file(tokenizer) : ""};
  } catch (const InputError&) {  // whoever needs it says what is wrong with it
    return std::nullopt;
  }
}

void require_same(const fs::path& first_folder, const Encoding& first, const fs::path& folder,
                  const Encoding& other) {
  const bool same_name = other.manifest.tokenizer == first.manifest.tokenizer &&
                         other.manifest.vocab_size == first.manifest.vocab_size;
  const bool same_file =
      other.tokenizer.empty() || first.tokenizer.empty() || other.tokenizer == first.tokenizer;
  require_input(same_name && same_file,
                "{}: made with the tokenizer '{}' of {} tokens, but {} with '{}' of {}{}: training "
                "files and those that a run is judged on must be of one tokenizer",
                (first_folder / "manifest.json").string(), first.manifest.tokenizer,
                first.manifest.vocab_size, (folder / "manifest.json").string(),
                other.manifest.tokenizer, other.manifest.vocab_size,
                same_name ? ", whose tokenizer.json is another" : "");
}

// A loss on tokens that mean other text than those that were learned says nothing. Two tokenizers
// may have one name, their files tell them apart. A folder without a manifest may hold anything.
void require_one_tokenizer(const std::vector<Files>& all) {
  std::set<fs::path> seen;
  std::optional<Encoding> first;
  fs::path first_folder;
  for (const auto& files : all) {
    for (const auto& file : files) {
      const auto folder = file.parent_path();
      if (!seen.insert(folder).second) continue;
      auto own = encoding_of(file);
      if (!own) continue;
      if (first) {
        require_same(first_folder, *first, folder, *own);
      } else {
        first = std::move(own);
        first_folder = folder;
      }
    }
  }
}

std::int64_t vocabulary_of(const TokenOptions& options, const fs::path& token_file) {
  if (options.vocab_size != 0) return options.vocab_size;
  const auto manifest = manifest_of(token_file);
  require_input(input_exists(manifest),
                "{}: there is no such file, so `data.vocab_size` must say how many tokens there "
                "are",
                manifest.string());
  return read_token_manifest(token_file).vocab_size;
}

// The files of each split; `further` as options.validations names them.
struct SplitFiles {
  std::vector<fs::path> train, validation, test;
  std::vector<std::vector<fs::path>> further;
};

class TokenDataset : public Dataset {
 public:
  TokenDataset(const TokenOptions& options, const SplitFiles& files, std::uint64_t seed)
      : train_(files.train, layout(options)),
        validation_(files.validation, layout(options)),
        length_(options.sequence_length),
        vocab_size_(vocabulary_of(options, files.train.front())),
        sampler_(seed, at_least_a_window(options.train, train_, length_), length_) {
    at_least_a_window(options.validation, validation_, length_);
    train_.check_vocabulary(vocab_size_);
    validation_.check_vocabulary(vocab_size_);
    validation_size_ = examples_of(validation_, options);
    for (std::size_t i = 0; i < files.further.size(); ++i) {
      const auto& [name, place] = options.validations[i];
      names_.push_back(name);
      further_.emplace_back(files.further[i], layout(options));
      further_.back().check_vocabulary(vocab_size_);
      at_least_a_window(place, further_.back(), length_);
      further_sizes_.push_back(examples_of(further_.back(), options));
    }
    if (!files.test.empty()) open_test(options, files.test);
  }

  DataShape shape() const override { return {DataShape::Inputs::tokens, vocab_size_, 0, length_}; }

  Batch training_examples(std::int64_t first, std::int64_t count) const override {
    return windows(train_, count, [&](std::int64_t i) { return sampler_.position(first + i); });
  }

  std::int64_t sequential_size() const override { return (train_.size() - 1) / length_; }

  Batch sequential_examples(std::int64_t first, std::int64_t count) const override {
    return windows_in_order(train_, first, count);
  }

  ExamplePlace place(ExampleOrder order, std::int64_t index) const override {
    const bool sequential = order == ExampleOrder::sequential;
    const auto [file, position] =
        train_.place(sequential ? index * length_ : sampler_.position(index));
    return {file.string(), position};
  }

  bool ignores_targets() const override {
    return train_.masked() || validation_.masked() || (test_ && test_->masked()) ||
           std::ranges::any_of(further_, &TokenSequence::masked);
  }

  std::int64_t validation_size() const override { return validation_size_; }

  Batch validation_examples(std::int64_t first, std::int64_t count) const override {
    return windows_in_order(validation_, first, count);
  }

  std::vector<HeldOutSet> further_validation_sets() const override {
    std::vector<HeldOutSet> sets;
    for (std::size_t i = 0; i < further_.size(); ++i) {
      sets.push_back(held_out(names_[i], further_[i], further_sizes_[i]));
    }
    return sets;
  }

  std::optional<HeldOutSet> test_set() const override {
    if (!test_) return std::nullopt;
    return held_out("test", *test_, (test_->size() - 1) / length_);
  }

 private:
  // Of an evaluation on these tokens.
  std::int64_t examples_of(const TokenSequence& tokens, const TokenOptions& options) const {
    const auto all = (tokens.size() - 1) / length_;
    const auto asked = (options.validation_tokens + length_ - 1) / length_;
    return options.validation_tokens == 0 ? all : std::min(all, asked);
  }

  void open_test(const TokenOptions& options, const std::vector<fs::path>& files) {
    test_.emplace(files, layout(options));
    test_->check_vocabulary(vocab_size_);
    at_least_a_window(options.test, *test_, length_);
  }

  static TokenLayout layout(const TokenOptions& options) { return token_layout(options.format); }

  // Of the files that a configuration names so; returns their tokens.
  static std::int64_t at_least_a_window(const std::string& place, const TokenSequence& tokens,
                                        std::int64_t length) {
    require_input(tokens.size() > length,
                  "{}: {} tokens are too few for a sequence of {} (data.sequence_length) and its "
                  "last target: at least {} are needed",
                  place, tokens.size(), length, length + 1);
    return tokens.size();
  }

  HeldOutSet held_out(const std::string& name, const TokenSequence& tokens,
                      std::int64_t size) const {
    return {name, size, [this, &tokens](auto first, auto count) {
              return windows_in_order(tokens, first, count);
            }};
  }

  // As they lie in the files, none of them overlapping.
  Batch windows_in_order(const TokenSequence& tokens, std::int64_t first,
                         std::int64_t count) const {
    return windows(tokens, count, [&](std::int64_t i) { return (first + i) * length_; });
  }

  template <typename Position>
  Batch windows(const TokenSequence& tokens, std::int64_t count, Position position) const {
    const auto options = at::TensorOptions().dtype(at::kLong);
    Batch batch{at::empty({count, length_}, options), at::empty({count, length_}, options)};
    auto* inputs = batch.inputs.data_ptr<std::int64_t>();
    auto* targets = batch.targets.data_ptr<std::int64_t>();
    for (std::int64_t i = 0; i < count; ++i) {
      const auto begin = position(i);
      tokens.copy(begin, length_, inputs + i * length_);
      tokens.copy_targets(begin + 1, length_, targets + i * length_);
    }
    return batch;
  }

  TokenSequence train_;
  TokenSequence validation_;
  std::optional<TokenSequence> test_;
  std::int64_t length_;
  std::int64_t vocab_size_;
  WindowSampler sampler_;
  std::int64_t validation_size_ = 0;
  std::vector<std::string> names_;  // of further sets
  std::vector<TokenSequence> further_;
  std::vector<std::int64_t> further_sizes_;
};

class TokenDatasetSpec : public DatasetSpec {
 public:
  std::string kind() const override { return "tokens"; }
  std::string doc() const override {
    return "token files: of `blockwise data`, llm.c, nanoGPT; FILE.mask beside FILE.bin, a byte "
           "per "
           "token: 0 is no target";
  }

  void visit(FieldVisitor& v) override {
    v.text({"train", "token file to train on; or a folder or a pattern with *, for shards", true},
           options_.train);
    v.text({"validation", "token file to evaluate on; the same", true}, options_.validation);
    v.text_map({"validations",
                "further token files to evaluate on, NAME: FILE each; recorded by name, what "
                "is chosen and reported goes by `validation`"},
               options_.validations);
    v.text({"test",
            "token file that no choice sees: a run's loss on it after the last step; the same"},
           options_.test);
    v.choice({"format",
              "auto: llm.c's files, whose header says all; without header, little-endian: "
              "raw_uint16 (nanoGPT's) and raw_uint32"},
             options_.format, token_layout_names());
    v.integer({"sequence_length", "tokens per example"}, options_.sequence_length, {1, 1 << 20});
    v.integer({"validation_tokens",
               "tokens of each evaluation, the file's first ones, whole sequences; 0 means all"},
              options_.validation_tokens, {0, std::int64_t{1} << 40});
    v.integer({"vocab_size",
               "0 takes it from manifest.json beside the training file, or else from model.from"},
              options_.vocab_size, {0, kMaxVocabSize});
  }

  std::unique_ptr<Dataset> open(std::uint64_t seed) const override {
    SplitFiles files{require_files(options_.train), require_files(options_.validation), {}, {}};
    require_apart(options_, files.train, files.validation,
                  fmt::format("the validation files ({})", options_.validation));
    std::vector<Files> all = {files.train, files.validation};
    for (const auto& [name, place] : options_.validations) {
      files.further.push_back(require_files(place));
      require_apart(options_, files.train, files.further.back(),
                    fmt::format("the files of data.validations.{} ({})", name, place));
    }
    files.test = test_files(options_, files.train, files.validation);
    all.insert(all.end(), files.further.begin(), files.further.end());
    all.push_back(files.test);
    require_one_tokenizer(all);
    return std::make_unique<TokenDataset>(options_, files, seed);
  }
  DataShape stated_shape() const override {
    return {DataShape::Inputs::tokens, options_.vocab_size, 0, options_.sequence_length};
  }
  void assume_classes(std::int64_t classes) override {
    if (options_.vocab_size == 0 && !input_exists(folder() / "manifest.json"))
      options_.vocab_size = classes;
  }
  fs::path folder() const override {
    std::error_code unknown;
    return fs::is_directory(options_.train, unknown) ? fs::path(options_.train)
                                                     : fs::path(options_.train).parent_path();
  }
  std::unique_ptr<DatasetSpec> clone() const override {
    return std::make_unique<TokenDatasetSpec>(*this);
  }

 private:
  TokenOptions options_;
};

}  // namespace

std::unique_ptr<DatasetSpec> make_token_dataset() { return std::make_unique<TokenDatasetSpec>(); }

}  // namespace blockwise
