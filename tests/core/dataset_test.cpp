// Data sets: the batch of a step is a function of (seed, step), however it is cut.
#include "core/dataset.hpp"

#include <fstream>

#include "core/data/token_file.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/set_fields.hpp"
#include "tests/support/temporary_folder.hpp"

using namespace blockwise;
using namespace blockwise::testing;

namespace {

// A token file whose token at position i is (first + i) mod 251: targets are visibly the next
// token.
void write_counting(const std::filesystem::path& path, std::int64_t first, std::int64_t tokens,
                    std::int64_t token_bytes = 2) {
  std::vector<std::uint16_t> values;
  for (std::int64_t i = first; i < first + tokens; ++i) {
    values.push_back(static_cast<std::uint16_t>(i % 251));
  }
  TokenFileWriter writer(path, token_bytes);
  writer.append(values);
  writer.finish();
}

class Corpus {
 public:
  Corpus() {
    write_counting(folder_ / "train.bin", 0, 1000);
    write_counting(folder_ / "validation.bin", 0, 100);
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

TEST_CASE("The order of a single file's examples is the one it always had") {
  const Corpus corpus;
  const auto data = corpus.open(3);
  // The first token of a window is its position mod 251. Recorded at the first release of the
  // sampler: another order would end every comparison with older runs.
  const auto firsts = [&](std::int64_t first) {
    const auto inputs = data->training_examples(first, 8).inputs.select(1, 0).contiguous();
    return std::vector<std::int64_t>(inputs.data_ptr<std::int64_t>(),
                                     inputs.data_ptr<std::int64_t>() + 8);
  };
  CHECK(firsts(0) == std::vector<std::int64_t>{142, 65, 97, 225, 119, 228, 129, 204});
  CHECK(firsts(1000) == std::vector<std::int64_t>{22, 134, 199, 145, 70, 7, 172, 198});
}

TEST_CASE("Shards give the examples of the one file that they were cut from") {
  const Corpus corpus;
  const TemporaryFolder shards;
  write_counting(shards / "train_0.bin", 0, 5);
  write_counting(shards / "train_1.bin", 5, 700, 4);
  write_counting(shards / "train_2.bin", 705, 295);
  write_counting(shards / "validation_0.bin", 0, 43);
  write_counting(shards / "validation_1.bin", 43, 57);
  const auto whole = corpus.open(3);
  const auto cut = corpus.open(3, {{"train", (shards / "train_*.bin").string()},
                                   {"validation", (shards / "validation_*.bin").string()}});
  CHECK(cut->validation_size() == whole->validation_size());
  for (const std::int64_t first : {0, 117, 5000}) {
    const auto a = whole->training_examples(first, 130), b = cut->training_examples(first, 130);
    CHECK(at::equal(a.inputs, b.inputs));
    CHECK(at::equal(a.targets, b.targets));
  }
  CHECK(at::equal(whole->validation_examples(0, 12).targets,
                  cut->validation_examples(0, 12).targets));
}

TEST_CASE("A pattern that takes validation text for training is refused") {
  const TemporaryFolder folder;
  write_counting(folder / "train.bin", 0, 1000);
  write_counting(folder / "validation.bin", 0, 100);
  const auto open = [&](const std::string& train, const std::string& validation) {
    return input_error([&] {
      dataset_spec("tokens", {{"train", train},
                              {"validation", validation},
                              {"vocab_size", 256},
                              {"sequence_length", 8}})
          ->open(1);
    });
  };
  const auto all = folder.path().string(), one = (folder / "validation.bin").string();
  CHECK_THAT(open(all, one), Contains("validation.bin: is in the training files"));
  CHECK_THAT(open(all, all), Contains("train.bin: is in the training files"));
  CHECK(open((folder / "train*.bin").string(), one) == "no error");
  CHECK_THAT(open(all, one), Contains("validation files (" + one + ")"));
  CHECK(open((folder / "train.bin").string(), (folder / "train.bin").string()) == "no error");
}

TEST_CASE("The test set is all windows of its file, and of no other's") {
  const Corpus corpus;
  const TemporaryFolder folder;
  write_counting(folder / "test.bin", 0, 100);
  const auto test = (folder / "test.bin").string();
  const auto none = corpus.open(1);
  CHECK(!none->test_set());
  const auto opened = corpus.open(1, {{"test", test}, {"validation_tokens", 17}});
  const auto data = opened->test_set();
  REQUIRE(data);
  CHECK(data->size == 12);  // 96 targets of 99
  CHECK(at::equal(data->examples(2, 1).inputs[0], at::arange(16, 24)));
  CHECK(at::equal(data->examples(2, 1).targets[0], at::arange(17, 25)));
  const auto with = [&](const std::string& key) {
    return input_error([&] { corpus.open(1, {{"test", test}, {key, test}}); });
  };
  CHECK_THAT(with("validation"), Contains("test.bin: is in the validation files"));
  CHECK_THAT(with("train"), Contains("test.bin: is in the training files"));
  write_counting(folder / "short.bin", 0, 8);
  CHECK_THAT(input_error([&] {
               corpus.open(1, {{"test", (folder / "short.bin").string()}});
             }),
             Contains("short.bin: 8 tokens are too few for a sequence of 8"));
}

TEST_CASE("A bare file must be asked for") {
  const Corpus corpus;
  const TemporaryFolder folder;
  for (const std::string name : {"train.bin", "validation.bin"}) {
    std::vector<std::uint16_t> tokens;
    for (std::uint16_t i = 0; i < 1000; ++i) tokens.push_back(i % 251);
    std::ofstream(folder / name, std::ios::binary)
        .write(reinterpret_cast<const char*>(tokens.data()), 2000);
  }
  nlohmann::json fields = {{"train", (folder / "train.bin").string()},
                           {"validation", (folder / "validation.bin").string()}};
  CHECK_THAT(input_error([&] { corpus.open(3, fields); }), Contains("format: raw_uint16"));
  fields["format"] = "raw_uint16";
  const auto bare = corpus.open(3, fields);
  CHECK(at::equal(bare->training_examples(0, 50).inputs,
                  corpus.open(3)->training_examples(0, 50).inputs));
  fields["vocab_size"] = 0;  // nanoGPT writes no manifest
  CHECK_THAT(input_error([&] { corpus.open(3, fields); }),
             Contains("manifest.json: there is no such file, so `data.vocab_size` must say"));
  // The model that reads it may say it instead; a manifest goes first.
  auto spec = dataset_spec("tokens", [&] {
    auto values = corpus.fields();
    values.update(fields);
    return values;
  }());
  spec->assume_classes(251);
  CHECK(spec->open(3)->shape().classes == 251);
}

TEST_CASE("The training data in their own order, each window once, and where every window lies") {
  const Corpus corpus;
  const TemporaryFolder shards;
  write_counting(shards / "train_0.bin", 0, 5);
  write_counting(shards / "train_1.bin", 5, 995);
  const auto data = corpus.open(3, {{"train", (shards / "train_*.bin").string()}});
  REQUIRE(data->sequential_size() == 124);  // 999 targets
  const auto all = data->sequential_examples(0, 124);
  CHECK(at::equal(all.inputs.flatten(), at::arange(124 * 8).remainder(251)));
  CHECK(at::equal(all.targets.flatten(), at::arange(1, 124 * 8 + 1).remainder(251)));
  CHECK(at::equal(all.inputs, corpus.open(4)->sequential_examples(0, 124).inputs));
  const auto first = data->place(ExampleOrder::sequential, 0);
  CHECK((first.file == (shards / "train_0.bin").string() && first.position == 0));
  const auto second = data->place(ExampleOrder::sequential, 1);
  CHECK((second.file == (shards / "train_1.bin").string() && second.position == 3));
  const auto sampled = data->training_examples(0, 40).inputs.select(1, 0).contiguous();
  for (std::int64_t i = 0; i < 40; ++i) {
    const auto place = data->place(ExampleOrder::sampled, i);
    const auto token = place.position + (place.file.ends_with("train_1.bin") ? 5 : 0);
    CHECK(token % 251 == sampled[i].item<std::int64_t>());
  }
}

TEST_CASE("Made-up data have an order of their own, too") {
  for (const auto& [kind, fields] : std::vector<std::pair<std::string, nlohmann::json>>{
           {"gaussian_classes", {{"features", 4}, {"examples", 50}}},
           {"markov_tokens", {{"tokens", 200}, {"sequence_length", 8}}}}) {
    INFO(kind);
    const auto data = dataset_spec(kind, fields)->open(3);
    CHECK(data->sequential_size() == (kind == "gaussian_classes" ? 50 : 24));
    const auto all = data->sequential_examples(0, data->sequential_size()).inputs;
    const auto apart = data->sequential_examples(7, 2).inputs;
    CHECK(at::equal(apart, all.narrow(0, 7, 2)));
    CHECK_FALSE(data->ignores_targets());
    CHECK(data->place(ExampleOrder::sequential, 7).file.empty());
    const auto place = data->place(ExampleOrder::sampled, 5).position;
    if (kind != "gaussian_classes") continue;
    CHECK(at::equal(data->training_examples(5, 1).inputs[0], all[place]));
  }
}

TEST_CASE("A mask beside a token file says which targets count") {
  const TemporaryFolder folder;
  write_counting(folder / "train_0.bin", 0, 300);
  write_counting(folder / "train_1.bin", 300, 700);
  write_counting(folder / "validation.bin", 0, 100);
  std::string mask(700, '\1');
  for (std::size_t i = 0; i < mask.size(); i += 3) mask[i] = '\0';
  std::ofstream(folder / "train_1.mask", std::ios::binary) << mask;
  const auto fields = [&](const std::string& train) {
    return nlohmann::json{{"train", (folder / train).string()},
                          {"validation", (folder / "validation.bin").string()},
                          {"vocab_size", 256},
                          {"sequence_length", 8}};
  };
  // A pattern that takes the mask, too, means the token files.
  const auto data = dataset_spec("tokens", fields("train_*"))->open(3);
  CHECK(data->ignores_targets());
  const auto batch = data->sequential_examples(0, data->sequential_size());
  const auto token = at::arange(1, batch.targets.numel() + 1);  // numbers of the targets
  const auto ignored = token.ge(300).logical_and((token - 300).remainder(3).eq(0));
  const auto expected = token.remainder(251).masked_fill(ignored, kIgnoredTarget);
  CHECK(at::equal(batch.targets.flatten(), expected));
  CHECK(at::equal(batch.inputs.flatten(), (token - 1).remainder(251)));
  CHECK_FALSE(dataset_spec("tokens", fields("train_0.bin"))->open(3)->ignores_targets());
  const auto error = [&](const std::string& bytes) {
    std::ofstream(folder / "train_1.mask", std::ios::binary) << bytes;
    return input_error([&] { dataset_spec("tokens", fields("train_1.bin"))->open(3); });
  };
  CHECK_THAT(error(mask.substr(1)), Contains("train_1.mask: 699 bytes, a mask has one per token") &&
                                        Contains("train_1.bin has 700 tokens"));
  CHECK_THAT(error(std::string(700, '1')), Contains("train_1.mask: byte 0 is 49"));
  std::filesystem::remove(folder / "train_1.mask");
  std::filesystem::create_directory(folder / "train_1.mask");
  CHECK_THAT(input_error([&] { dataset_spec("tokens", fields("train_1.bin"))->open(3); }),
             Contains("train_1.mask: is a folder, not a regular file"));
}

TEST_CASE("Token data that does not fit is refused by file") {
  const Corpus corpus;
  CHECK_THAT(input_error([&] {
               corpus.open(1, {{"vocab_size", 100}});
             }),
             Contains("token 100 at position 100, the vocabulary has 100"));
  CHECK_THAT(input_error([&] {
               corpus.open(1, {{"sequence_length", 5000}});
             }),
             Contains("train.bin: ") && Contains("tokens are too few for a sequence of 5000") &&
                 Contains("at least 5001"));
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

// The counted conditional entropy of 60,000 tokens after 16 pairs is known to some 0.01 nats.
TEST_CASE("Markov text is one problem: two tokens tell about the next, one tells less") {
  const nlohmann::json fields = {{"vocab_size", 4}, {"sequence_length", 10}, {"tokens", 60001}};
  const auto a = dataset_spec("markov_tokens", fields)->open(1);
  const auto again = dataset_spec("markov_tokens", fields)->open(1);
  const auto b = dataset_spec("markov_tokens", fields)->open(2);
  check_split(*a);
  CHECK(at::equal(a->training_examples(3, 8).inputs, again->training_examples(3, 8).inputs));
  CHECK_FALSE(at::equal(a->training_examples(3, 8).inputs, b->training_examples(3, 8).inputs));
  CHECK(at::equal(a->validation_examples(0, 8).inputs, b->validation_examples(0, 8).inputs));
  const auto batch = a->training_examples(0, 5999);
  CHECK(at::equal(batch.inputs.narrow(1, 1, 9), batch.targets.narrow(1, 0, 9)));
  const auto entropy = [&](std::int64_t memory) {
    auto context = at::zeros_like(batch.targets.narrow(1, 1, 9));
    for (std::int64_t k = 0; k < memory; ++k) {
      context = context * 4 + batch.inputs.narrow(1, 1 - k, 9);
    }
    const auto joint = (context * 4 + batch.targets.narrow(1, 1, 9)).flatten();
    const auto counts = at::bincount(joint).to(at::kDouble).view({-1, 4});
    const auto p = counts / counts.sum(1, true);
    return -(counts * p.clamp_min(1e-12).log()).sum().item<double>() / counts.sum().item<double>();
  };
  CHECK(entropy(0) < std::log(4.0) + 1e-9);
  CHECK(entropy(2) < entropy(1) - 0.1);
  CHECK(entropy(1) < entropy(0) + 0.01);
  CHECK_THAT(input_error([&] {
               dataset_spec("markov_tokens", {{"tokens", 32}});
             }),
             Contains("less than a window"));
}
