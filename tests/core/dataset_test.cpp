// Data sets: the batch of a step is a function of (seed, step), however it is cut.
#include "core/dataset.hpp"

#include "core/data/token_file.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/set_fields.hpp"
#include "tests/support/temporary_folder.hpp"

using namespace blockwise;
using namespace blockwise::testing;

namespace {

// A token file whose token at position i is i mod 251: targets are visibly the next token.
void write_counting(const std::filesystem::path& path, std::int64_t tokens) {
  std::vector<std::uint16_t> values;
  for (std::int64_t i = 0; i < tokens; ++i) values.push_back(static_cast<std::uint16_t>(i % 251));
  TokenFileWriter writer(path);
  writer.append(values);
  writer.finish();
}

class Corpus {
 public:
  Corpus() {
    write_counting(folder_ / "train.bin", 1000);
    write_counting(folder_ / "validation.bin", 100);
  }
  nlohmann::json fields() const {
    return {{"train", (folder_ / "train.bin").string()},
            {"validation", (folder_ / "validation.bin").string()},
            {"sequence_length", 8},
            {"vocab_size", 256}};
  }
  std::unique_ptr<Dataset> open(std::uint64_t seed, const nlohmann::json& changes = {}) const {
    auto values = fields();
    values.update(changes.is_null() ? nlohmann::json::object() : changes);
    return dataset_spec("tokens", values)->open(seed);
  }

 private:
  TemporaryFolder folder_;
};

void check_split(const Dataset& data) {
  const auto whole = data.training_examples(40, 6);
  const auto first = data.training_examples(40, 2), rest = data.training_examples(42, 4);
  CHECK(at::equal(whole.inputs, at::cat({first.inputs, rest.inputs})));
  CHECK(at::equal(whole.targets, at::cat({first.targets, rest.targets})));
}

}  // namespace

TEST_CASE("Targets are the tokens one position on") {
  const Corpus corpus;
  const auto data = corpus.open(3);
  for (const auto& batch : {data->training_examples(0, 20), data->validation_examples(0, 5)}) {
    CHECK(at::equal(batch.targets, (batch.inputs + 1).remainder(251)));
    CHECK(batch.inputs.sizes().slice(1) == at::IntArrayRef{8});
    CHECK(batch.inputs.scalar_type() == at::kLong);
  }
  CHECK(data->training_examples(0, 20).tokens() == 160);
}

TEST_CASE("Micro-batches of a step are its batch, cut") {
  check_split(*Corpus().open(3));
  check_split(*dataset_spec("gaussian_classes", {{"features", 4}, {"examples", 50}})->open(3));
}

TEST_CASE("The order depends on the seed, the validation examples do not") {
  const Corpus corpus;
  const auto a = corpus.open(1), again = corpus.open(1), b = corpus.open(2);
  CHECK(at::equal(a->training_examples(7, 9).inputs, again->training_examples(7, 9).inputs));
  CHECK_FALSE(at::equal(a->training_examples(7, 9).inputs, b->training_examples(7, 9).inputs));
  CHECK(at::equal(a->validation_examples(0, 5).inputs, b->validation_examples(0, 5).inputs));
}

TEST_CASE("Validation windows are the file's first ones") {
  const Corpus corpus;
  const auto all = corpus.open(1);
  CHECK(all->validation_size() == 12);  // 96 targets of 99
  CHECK(corpus.open(1, {{"validation_tokens", 17}})->validation_size() == 3);
  CHECK(corpus.open(1, {{"validation_tokens", 1000000}})->validation_size() == 12);
  CHECK(at::equal(all->validation_examples(2, 1).inputs[0], at::arange(16, 24)));
}

TEST_CASE("Token data that does not fit is refused by file") {
  const Corpus corpus;
  CHECK_THAT(input_error([&] {
               corpus.open(1, {{"vocab_size", 100}});
             }),
             Contains("token 100 at position 100, the vocabulary has 100"));
  CHECK_THAT(input_error([&] {
               corpus.open(1, {{"sequence_length", 500}});
             }),
             Contains("too short for sequences of 500"));
  CHECK_THAT(input_error([&] {
               corpus.open(1, {{"sequence_length", 120}});
             }),
             Contains("validation.bin: 100 tokens"));
  CHECK_THAT(input_error([&] {
               corpus.open(1, {{"train", "missing.bin"}});
             }),
             Contains("missing.bin: there is no such token file"));
  CHECK_THAT(input_error([&] { corpus.open(1, {{"vocab_size", 0}}); }), Contains("manifest.json"));
}

TEST_CASE("Gaussian classes are one problem, drawn in an order of the seed") {
  const nlohmann::json fields = {
      {"features", 16}, {"classes", 3}, {"examples", 500}, {"separation", 6.0}};
  const auto a = dataset_spec("gaussian_classes", fields)->open(1);
  const auto again = dataset_spec("gaussian_classes", fields)->open(1);
  const auto b = dataset_spec("gaussian_classes", fields)->open(2);
  CHECK(at::equal(a->training_examples(3, 8).inputs, again->training_examples(3, 8).inputs));
  CHECK_FALSE(at::equal(a->training_examples(3, 8).inputs, b->training_examples(3, 8).inputs));
  CHECK(at::equal(a->validation_examples(0, 8).inputs, b->validation_examples(0, 8).inputs));
  CHECK(at::equal(a->validation_examples(2, 3).targets,
                  a->validation_examples(0, 8).targets.narrow(0, 2, 3)));

  // Examples lie closer to the mean of their own class than to another's.
  const auto train = a->training_examples(0, 600), test = a->validation_examples(0, 200);
  std::vector<at::Tensor> means;
  for (std::int64_t c = 0; c < 3; ++c) {
    means.push_back(train.inputs.index_select(0, train.targets.eq(c).nonzero().flatten()).mean(0));
  }
  const auto nearest = at::cdist(test.inputs, at::stack(means)).argmin(1);
  // Class means are about 6 sqrt(2) noise norms apart: nearest-mean is practically never wrong.
  CHECK(nearest.eq(test.targets).to(at::kDouble).mean().item<double>() > 0.98);
  CHECK(a->shape().features == 16);
}
