// What the numbers of `blockwise spectrum` refer to: which elements, which eigenvectors, which
// examples, which models.
#include <ATen/ATen.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <numeric>

#include "core/base/batch.hpp"
#include "core/base/error.hpp"
#include "core/data/token_file.hpp"
#include "core/io/atomic_file.hpp"
#include "core/io/hdf5_file.hpp"
#include "experiments/records/hessian_recorder.hpp"
#include "experiments/records/run_recorder.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/program.hpp"
#include "tests/support/small_run.hpp"

using namespace blockwise;
using namespace blockwise::testing;
namespace fs = std::filesystem;

namespace {

struct Prepared : SmallRunFolder {
  explicit Prepared(std::int64_t steps = 6) : SmallRunFolder(steps) {}
  ProgramResult spectrum(const std::vector<std::string>& settings,
                         std::vector<std::string> arguments = {}) const {
    fs::remove_all(folder / "spectrum");
    arguments.insert(arguments.begin(),
                     {"spectrum", "--no-figure", "--output", (folder / "spectrum").string()});
    for (const auto& setting : settings) {
      arguments.push_back("--set");
      arguments.push_back("hessian." + setting);
    }
    return run(arguments);
  }
  Hdf5File measured(const std::vector<std::string>& settings,
                    const std::vector<std::string>& arguments = {}) const {
    const auto result = spectrum(settings, arguments);
    INFO(result.errors);
    REQUIRE(result.exit_code == 0);
    return Hdf5File::open_for_reading(folder / "spectrum/spectrum.h5");
  }
  std::string errors(const std::vector<std::string>& settings,
                     const std::vector<std::string>& arguments = {}) const {
    const auto result = spectrum(settings, arguments);
    CHECK(result.exit_code == 2);
    return result.errors;
  }
};

at::Tensor array(const Hdf5File& file, const std::string& path) {
  const auto values = at::empty(file.array_shape(path), at::kDouble);
  file.read_array(path, {values.data_ptr<double>(), static_cast<std::size_t>(values.numel())});
  return values;
}

std::string block_path(const char* kind, std::int64_t part, const std::string& name) {
  return fmt::format("/hessian/{}/{}/{}", kind, part, name);
}

std::vector<std::int64_t> tokens_of(const fs::path& path) {
  const TokenFile file(path);
  std::vector<std::int64_t> tokens(static_cast<std::size_t>(file.size()));
  file.copy(0, file.size(), tokens.data());
  return tokens;
}

// Tensor and number in it of every element of a part, as the file tells them.
std::vector<std::pair<std::int64_t, std::int64_t>> elements_of(const Hdf5File& file,
                                                               std::int64_t part) {
  const auto column = [&](const std::string& name) {
    return file.integer_column("/hessian/pieces/" + name);
  };
  const auto shapes = file.text_column("/hessian/parameters/shape");
  const auto parts = column("block"), tensors = column("tensor"), row = column("row"),
             rows = column("rows"), first = column("column"), columns = column("columns");
  std::vector<std::pair<std::int64_t, std::int64_t>> elements;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    if (parts[i] != part) continue;
    const auto shape = nlohmann::json::parse(shapes[static_cast<std::size_t>(tensors[i])]);
    const auto width = shape.size() > 1 ? shape[1].get<std::int64_t>() : 1;
    for (auto r = row[i]; r < row[i] + rows[i]; ++r) {
      for (auto c = first[i]; c < first[i] + columns[i]; ++c) {
        elements.emplace_back(tensors[i], r * width + c);
      }
    }
  }
  return elements;
}

// Of the largest magnitudes first, as they are asked for.
at::Tensor by_magnitude(const at::Tensor& values, std::int64_t count) {
  return values.index_select(0, values.abs().argsort(0, true).narrow(0, 0, count));
}

}  // namespace

TEST_CASE("Eigenvectors are those of the exact matrix, whichever solver finds them") {
  const Prepared p;
  const std::vector<std::string> what = {"each=tensor", "roles=[query,norm]", "vectors=3"};
  const auto with = [&](const std::string& more) {
    auto settings = what;
    std::istringstream words(more);
    for (std::string word; words >> word;) settings.push_back(word);
    return settings;
  };
  const auto exact = p.measured(what, {"--exact", "--precision", "fp64"});
  const auto names = exact.text_column("/hessian/blocks/name");
  REQUIRE(names.size() == 4);
  std::vector<at::Tensor> matrices, vectors;
  for (std::int64_t b = 0; b < 4; ++b) {
    matrices.push_back(array(exact, block_path("exact", b, "matrix")));
    vectors.push_back(array(exact, block_path("eigenvectors", b, "vector/0")));
    const auto values = array(exact, block_path("eigenvectors", b, "value"));
    const auto expected = by_magnitude(at::linalg_eigvalsh(matrices.back()), 3);
    // Two float64 solvers of one matrix.
    CHECK(at::allclose(values, expected, 1e-9, 1e-12));
  }
  for (const std::string solver :
       {"lanczos_steps=60", "eigensolver=thick_restart eigen_tolerance=1e-9 eigen_products=2000",
        "eigensolver=spectra eigen_tolerance=1e-9 eigen_products=2000 eigenpairs=4"}) {
    INFO(solver);
    const auto found = p.measured(with(solver), {"--precision", "fp64"});
    for (std::int64_t b = 0; b < 4; ++b) {
      INFO(names[static_cast<std::size_t>(b)]);
      const auto& matrix = matrices[static_cast<std::size_t>(b)];
      const auto values = array(found, block_path("eigenvectors", b, "value"));
      const auto residuals = array(found, block_path("eigenvectors", b, "residual"));
      for (std::int64_t i = 0; i < 3; ++i) {
        const auto u = array(found, block_path("eigenvectors", b, fmt::format("vector/{}", i)));
        CHECK(u.norm().item<double>() == Approx(1.0).epsilon(1e-12));
        const auto residual = (matrix.mv(u) - values[i] * u).norm().item<double>();
        // What the file says of it is what the matrix says; matrix and product are two roundings.
        CHECK(residual == Approx(residuals[i].item<double>()).margin(1e-10));
        CHECK(residual < 1e-4);
      }
      const auto first = array(found, block_path("eigenvectors", b, "vector/0"));
      CHECK(std::abs(first.dot(vectors[static_cast<std::size_t>(b)]).item<double>()) ==
            Approx(1.0).epsilon(1e-6));
    }
  }
}

TEST_CASE("A part says which elements it is made of: its matrix is that part of the whole one") {
  const Prepared p;
  const std::string roles = "roles=[query,attention_output,norm]";
  const auto whole = p.measured({roles}, {"--exact", "--precision", "fp64"});
  const auto matrix = array(whole, block_path("exact", 0, "matrix"));
  const auto all = elements_of(whole, 0);
  REQUIRE(std::ssize(all) == matrix.size(0));
  for (const std::string each : {"each=head", "each=column", "each=tensor"}) {
    INFO(each);
    const auto file = p.measured({each, roles, "index=[1]"}, {"--exact", "--precision", "fp64"});
    const auto parts = std::ssize(file.text_column("/hessian/blocks/name"));
    REQUIRE(parts > 0);
    for (std::int64_t b = 0; b < parts; ++b) {
      std::vector<std::int64_t> places;
      for (const auto& element : elements_of(file, b)) {
        places.push_back(std::ranges::find(all, element) - all.begin());
      }
      const auto index = at::tensor(places, at::kLong);
      const auto part = matrix.index_select(0, index).index_select(1, index);
      const auto found = array(file, block_path("exact", b, "matrix"));
      // Two float64 products of one function.
      CHECK(at::allclose(found, part, 1e-9, 1e-12));
    }
  }
}

TEST_CASE("The file says which examples were measured: file, position, tokens") {
  const Prepared p;
  const auto tokens = tokens_of(p.folder / "train.bin");
  std::string mask(tokens.size(), '\1');
  for (std::size_t i = 0; i < mask.size(); i += 5) mask[i] = '\0';
  for (const std::string order : {"sampled", "sequential"}) {
    INFO(order);
    if (order == "sequential") std::ofstream(p.folder / "train.mask", std::ios::binary) << mask;
    const auto file = p.measured(
        {"order=" + order, "batches=2", "batch_size=3", "lanczos_steps=2", "roles=[norm]"});
    CHECK(file.integer_column("/hessian/examples/batch") ==
          std::vector<std::int64_t>{0, 0, 0, 1, 1, 1});
    const auto files = file.text_column("/hessian/examples/file");
    const auto positions = file.integer_column("/hessian/examples/position");
    const auto inputs = file.integer_column("/hessian/example_tokens/input");
    const auto targets = file.integer_column("/hessian/example_tokens/target");
    REQUIRE((positions.size() == 6 && inputs.size() == 6 * 16 && targets.size() == inputs.size()));
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      const auto place = static_cast<std::size_t>(positions[i / 16]) + i % 16;
      CHECK(files[i / 16] == (p.folder / "train.bin").string());
      CHECK(inputs[i] == tokens[place]);
      const bool ignored = order == "sequential" && (place + 1) % 5 == 0;
      CHECK(targets[i] == (ignored ? kIgnoredTarget : tokens[place + 1]));
      if (order == "sequential") CHECK(place == i);
    }
  }
  CHECK_THAT(p.errors({"order=sequential", "batches=94", "batch_size=4"}),
             Contains("the training data have 374; 1 x hessian.batches 94 x hessian.batch_size 4"));
}

TEST_CASE("The measured loss is the mean over targets that count") {
  const Prepared p;
  const std::vector<std::string> what = {"order=sequential", "batches=2",    "batch_size=3",
                                         "lanczos_steps=0",  "roles=[norm]", "eigenpairs=0"};
  const auto loss = [&] { return read_hessian_rows(p.measured(what)).summary[0].loss; };
  const auto tokens = static_cast<std::size_t>(TokenFile(p.folder / "train.bin").size());
  const auto write = [&](const auto& counts) {
    std::string mask;
    for (std::size_t i = 0; i < tokens; ++i) mask += counts(i) ? '\1' : '\0';
    std::ofstream(p.folder / "train.mask", std::ios::binary) << mask;
  };
  const double whole = loss();
  write([](std::size_t i) { return i % 5 == 0; });
  const double some = loss();
  write([](std::size_t i) { return i % 5 != 0; });
  const double others = loss();
  write([](std::size_t) { return true; });
  CHECK(loss() == whole);
  // 96 targets, tokens 1 to 96, 19 of them multiples of 5. Sums of float32 losses.
  CHECK((19.0 * some + 77.0 * others) / 96.0 == Approx(whole).epsilon(1e-6));
  CHECK(std::abs(some - others) > 1e-4);
  write([](std::size_t) { return false; });
  CHECK_THAT(p.errors(what), Contains("a mask leaves no target"));
}

TEST_CASE("Blocks by the names of tensors") {
  const Prepared p;
  const auto file = p.measured({"each=tensor", "names=[\"*.self_attn.*\", \"*norm.weight\"]",
                                "roles=[query,norm]", "lanczos_steps=2"});
  const auto names = file.text_column("/hessian/blocks/name");
  REQUIRE(names.size() == 4);
  CHECK(names.front() == "model.layers.0.input_layernorm.weight");
  CHECK_THAT(p.errors({"names=[\"*.self_atn.*\"]"}),
             Contains("hessian.parts.names: '*.self_atn.*' is the name of none of the") &&
                 Contains("near it are 'model.layers.0.self_attn."));
  CHECK_THAT(p.errors({"names=[\"*norm*\", \"*.xyz_completely_different\"]"}),
             Contains("'*.xyz_completely_different' is the name of none"));
  CHECK_THAT(p.errors({"names=[\"*norm*\"]", "roles=[key]"}), Contains("no part matches"));
}

TEST_CASE("More Lanczos steps than a part has parameters are as many as it has") {
  const Prepared p;
  const auto result = p.spectrum({"each=row", "roles=[key]", "lanczos_steps=80", "index=[0,1]"});
  INFO(result.errors);
  REQUIRE(result.exit_code == 0);
  CHECK_THAT(result.output, Contains("16 steps instead of 80, the largest part has 16") &&
                                Contains("densities: 16 steps"));
  const auto rows =
      read_hessian_rows(Hdf5File::open_for_reading(p.folder / "spectrum/spectrum.h5"));
  REQUIRE(rows.probes.size() == 2);
  for (const auto& row : rows.probes) CHECK(row.lanczos_steps <= 16);
}

TEST_CASE("A part with fewer eigenvalues than pairs that are asked for gives all it has") {
  const Prepared p;
  const std::vector<std::string> what = {"each=row", "roles=[query]", "index=[2]",
                                         "lanczos_steps=0", "eigenpairs=9"};
  const auto exact = read_hessian_rows(p.measured(what, {"--exact", "--precision", "fp64"}));
  REQUIRE(exact.eigenvalues.size() == 16);
  for (const std::string solver : {"thick_restart", "spectra"}) {
    INFO(solver);
    auto with = what;
    with.insert(with.end(), {"eigensolver=" + solver, "vectors=9"});
    const auto file = p.measured(with, {"--precision", "fp64"});
    const auto rows = read_hessian_rows(file);
    REQUIRE(rows.eigenvalues.size() == 16);
    for (const auto& row : rows.eigenvalues) {
      const auto place = static_cast<std::size_t>(row.index < 0 ? 16 + row.index : row.index);
      // Float64 products and solvers of one matrix.
      CHECK(row.value == Approx(exact.eigenvalues[place].value).margin(1e-12));
      CHECK(row.residual < 1e-10);
    }
    CHECK(array(file, block_path("eigenvectors", 0, "value")).isnan().any().item<bool>() == false);
  }
}

TEST_CASE("Several checkpoints are measured into one file, each as it is by itself") {
  const Prepared p;
  REQUIRE(p.run({"train"}).exit_code == 0);
  const std::vector<std::string> what = {"each=layer", "lanczos_steps=6", "vectors=2",
                                         "eigenpairs=2"};
  const auto run = (p.folder / "run").string();
  const auto all = p.measured(what, {"--checkpoints", run});
  const auto together = read_hessian_rows(all);
  CHECK(all.integer_column("/hessian/points/step") == std::vector<std::int64_t>{3, 6});
  std::vector<std::int64_t> steps;
  for (const auto& row : together.summary) steps.push_back(row.step);
  CHECK(steps == std::vector<std::int64_t>{3, 3, 6, 6});
  const auto vector = array(all, "/hessian/steps/6/eigenvectors/1/vector/0");
  const auto alone_file = p.measured(what, {"--model", run + "/checkpoints/step_00000006"});
  CHECK(alone_file.integer_column("/hessian/points/step") == std::vector<std::int64_t>{6});
  CHECK(alone_file.integer_column("/hessian/summary/step").front() == 6);
  const auto alone = read_hessian_rows(alone_file);
  REQUIRE(together.eigenvalues.size() == 2 * alone.eigenvalues.size());
  for (std::size_t i = 0; i < alone.eigenvalues.size(); ++i) {
    CHECK(together.eigenvalues[i + alone.eigenvalues.size()].value == alone.eigenvalues[i].value);
  }
  CHECK(at::equal(vector, array(alone_file, "/hessian/eigenvectors/1/vector/0")));
  // Steps that do not ascend are counted instead, and models of other tensors are refused.
  const auto back =
      p.measured(what, {"--model", run, "--model", run + "/checkpoints/step_00000003"});
  CHECK(back.integer_column("/hessian/points/step") == std::vector<std::int64_t>{0, 1});
  REQUIRE(p.run({"train", "--output", (p.folder / "wide").string(), "--set", "model.n_embd=32"})
              .exit_code == 0);
  CHECK_THAT(p.errors(what, {"--model", run, "--model", (p.folder / "wide").string()}),
             Contains("wide: has the tensor 'model.embed_tokens.weight' [64, 32] where the first "
                      "model has"));
}

TEST_CASE("Several models are stopped and go on with the same bits") {
  const Prepared p;
  REQUIRE(p.run({"train"}).exit_code == 0);
  const std::vector<std::string> what = {"each=layer", "lanczos_steps=25", "save_every=5"};
  const std::vector<std::string> models = {"--checkpoints", (p.folder / "run").string()};
  const auto whole = read_hessian_rows(p.measured(what, models));
  fs::remove_all(p.folder / "spectrum");
  std::vector<std::string> arguments = {"spectrum", p.config, "--no-figure", "--output",
                                        (p.folder / "spectrum").string()};
  arguments.insert(arguments.end(), models.begin(), models.end());
  for (const auto& setting : what)
    arguments.insert(arguments.end(), {"--set", "hessian." + setting});
  run_program(arguments, "timeout -s KILL 0.7");
  REQUIRE(run_program(arguments).exit_code == 0);
  const auto again =
      read_hessian_rows(Hdf5File::open_for_reading(p.folder / "spectrum/spectrum.h5"));
  REQUIRE(again.quadrature.size() == whole.quadrature.size());
  for (std::size_t i = 0; i < whole.quadrature.size(); ++i) {
    CHECK(again.quadrature[i].node == whole.quadrature[i].node);
    CHECK(again.quadrature[i].step == whole.quadrature[i].step);
  }
}

TEST_CASE("Where a model is given, errors name the flag that sets what is wrong") {
  const Prepared p;
  REQUIRE(p.run({"train"}).exit_code == 0);
  const auto run = (p.folder / "run").string(), train = (p.folder / "train.bin").string();
  const auto error = [&](std::vector<std::string> arguments,
                         const std::vector<std::string>& more = {}) {
    arguments.insert(arguments.end(), {"--model", run});
    arguments.insert(arguments.end(), more.begin(), more.end());
    const auto result = run_program(arguments);
    INFO(result.output);
    CHECK(result.exit_code == 2);
    return result.errors;
  };
  const auto spectrum = [&](const std::vector<std::string>& more) {
    return error({"spectrum", "--no-figure", "--tokens", train}, more);
  };
  CHECK_THAT(spectrum({"--sequence-length", "64"}), Contains("--sequence-length"));
  CHECK_THAT(spectrum({"--sequence-length", "16", "--set", "hessian.batch_size=1000", "--set",
                       "hessian.batches=100000"}),
             Contains("--set hessian.batches=VALUE") && Contains("--set hessian.method=VALUE"));
  CHECK_THAT(spectrum({"--sequence-length", "16", "--set", "hessian.pairs.vectors=9"}),
             Contains("--set hessian.pairs.vectors=9"));
  fs::copy_file(train, p.folder / "short.bin");
  write_file_atomically(p.folder / "bare.bin", std::string(64, '\1'));
  const auto bare = (p.folder / "bare.bin").string();
  CHECK_THAT(error({"spectrum", "--no-figure", "--tokens", bare}),
             Contains("--set data.format=VALUE"));
  CHECK_THAT(error({"eval", "--tokens", bare}), Contains("--format"));
  const auto nothing = (p.folder / "nothing.bin").string();
  for (const std::string verb : {"spectrum", "eval"}) {
    CHECK_THAT(error({verb, "--tokens", nothing}), Contains("nothing.bin") && Contains("--tokens"));
    const auto missing = run_program({verb, "--model", nothing, "--tokens", train});
    CHECK_THAT(missing.errors, Contains("nothing.bin") && Contains("--model"));
  }
  CHECK_THAT(spectrum({"--sequence-length", "16", "--set", "hessian.parts.roles=[router]"}),
             Contains("no part matches") && Contains("--set hessian.parts.roles=VALUE"));
  CHECK_THAT(error({"eval", "--tokens", train, "--sequence-length", "64"}),
             Contains("--sequence-length is 64, the model reads at most 16 tokens"));
  CHECK_THAT(error({"partition", p.config, "--set", "hessian.order=sequential"},
                   {"--set", "hessian.batches=1000"}),
             Contains("--set hessian.batch_size=VALUE"));
  CHECK_THAT(error({"search-lr", p.config, "--set", "hessian.order=sequential"},
                   {"--set", "hessian.batches=1000"}),
             Contains("--set hessian.batch_size=VALUE"));
}

TEST_CASE("A vocabulary that the data do not say is the model's, for every verb") {
  const Prepared p;
  REQUIRE(p.run({"train"}).exit_code == 0);
  const auto exported = (p.folder / "exported").string();
  REQUIRE(run_program({"export", "--model", (p.folder / "run").string(), "--output", exported})
              .exit_code == 0);
  fs::remove(p.folder / "manifest.json");
  const auto tokens = (p.folder / "train.bin").string();
  const auto spectrum = run_program(
      {"spectrum", "--model", exported, "--tokens", tokens, "--sequence-length", "8", "--dry-run"});
  INFO(spectrum.errors);
  CHECK(spectrum.exit_code == 0);
  for (const std::string verb : {"partition", "search-lr"}) {
    const auto result = p.run({verb, "--model", exported, "--dry-run"});
    INFO(verb << ": " << result.errors);
    CHECK(result.exit_code == 0);
  }
  for (const std::string verb : {"train", "plan"}) {
    const auto result = p.run({verb, "--set", "model.from=" + exported});
    INFO(verb << ": " << result.errors);
    // The output folder holds the run that was trained without it.
    CHECK((result.exit_code == 0 ||
           result.errors.find("another configuration") != std::string::npos));
  }
  const auto fresh = p.run({"plan"});
  CHECK_THAT(fresh.errors, Contains("`data.vocab_size` must say"));
}
