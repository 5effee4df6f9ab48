// The verb `spectrum` and the probes of a run, as a user has them.
#include <ATen/ATen.h>

#include <cmath>
#include <numeric>
#include <tuple>

#include "core/base/error.hpp"
#include "core/io/hdf5_file.hpp"
#include "core/io/input_file.hpp"
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
    arguments.insert(arguments.begin(),
                     {"spectrum", "--no-figure", "--output", (folder / "spectrum").string()});
    for (const auto& setting : settings) {
      arguments.push_back("--set");
      arguments.push_back("hessian." + setting);
    }
    return run(arguments);
  }
  Hdf5File file() const { return Hdf5File::open_for_reading(folder / "spectrum/spectrum.h5"); }
};

bool same(double a, double b) { return a == b || (std::isnan(a) && std::isnan(b)); }

void check_same(const HessianRows& a, const HessianRows& b) {
  REQUIRE(a.quadrature.size() == b.quadrature.size());
  for (std::size_t i = 0; i < a.quadrature.size(); ++i) {
    CHECK(a.quadrature[i].node == b.quadrature[i].node);
    CHECK(a.quadrature[i].weight == b.quadrature[i].weight);
  }
  REQUIRE(a.eigenvalues.size() == b.eigenvalues.size());
  for (std::size_t i = 0; i < a.eigenvalues.size(); ++i) {
    CHECK(a.eigenvalues[i].value == b.eigenvalues[i].value);
    CHECK(a.eigenvalues[i].residual == b.eigenvalues[i].residual);
  }
  REQUIRE(a.summary.size() == b.summary.size());
  for (std::size_t i = 0; i < a.summary.size(); ++i) {
    CHECK(same(a.summary[i].trace, b.summary[i].trace));
    CHECK(a.summary[i].products == b.summary[i].products);
    CHECK(a.summary[i].loss == b.summary[i].loss);
  }
  CHECK(a.couplings.size() == b.couplings.size());
  CHECK(a.energies.size() == b.energies.size());
}

}  // namespace

TEST_CASE("spectrum: matrices, eigenvalues and traces of parts are one truth") {
  const Prepared p;
  const auto result = p.spectrum({"each=tensor", "roles=[norm,key]", "partitions=[per_row]"},
                                 {"--exact", "--precision", "fp64"});
  INFO(result.errors);
  REQUIRE(result.exit_code == 0);
  CHECK_THAT(result.output, Contains("4 parts with"));
  const auto file = p.file();
  const auto rows = read_hessian_rows(file);
  const auto names = file.text_column("/hessian/blocks/name");
  const auto sizes = file.integer_column("/hessian/blocks/elements");
  REQUIRE(names.size() == 4);
  for (std::size_t b = 0; b < 4; ++b) {
    const auto n = sizes[b];
    std::vector<double> matrix(static_cast<std::size_t>(n * n));
    file.read_array(fmt::format("/hessian/exact/{}/matrix", b), std::span<double>(matrix));
    double trace = 0.0, asymmetry = 0.0, eigenvalues = 0.0;
    for (std::int64_t i = 0; i < n; ++i) {
      trace += matrix[static_cast<std::size_t>(i * n + i)];
      for (std::int64_t j = 0; j < i; ++j) {
        asymmetry = std::max(asymmetry, std::abs(matrix[static_cast<std::size_t>(i * n + j)] -
                                                 matrix[static_cast<std::size_t>(j * n + i)]));
      }
    }
    for (const auto& row : rows.eigenvalues) {
      if (row.part == static_cast<std::int64_t>(b)) eigenvalues += row.value;
    }
    CHECK(asymmetry < 1e-12);
    CHECK(eigenvalues == Approx(trace).margin(1e-10));
    CHECK(rows.summary[b].trace == Approx(trace).margin(1e-12));
  }
  REQUIRE(!rows.energies.empty());
  for (const auto& row : rows.energies) CHECK((row.share > 0.0 && row.share <= 1.0));
  for (const auto& row : rows.symmetries) CHECK(row.error < 1e-12);
}

TEST_CASE("spectrum: estimates agree with the matrix within their errors") {
  const Prepared p;
  REQUIRE(
      p.spectrum({"each=layer", "layers=[0]", "lanczos_steps=40", "trace_products=60", "probes=3"},
                 {"--precision", "fp64"})
          .exit_code == 0);
  const auto estimated = read_hessian_rows(p.file());
  fs::remove_all(p.folder / "spectrum");
  REQUIRE(p.spectrum({"each=layer", "layers=[0]"}, {"--precision", "fp64", "--exact"}).exit_code ==
          0);
  const auto exact = read_hessian_rows(p.file());
  CHECK(std::abs(estimated.summary[0].trace - exact.summary[0].trace) <
        4.0 * estimated.summary[0].trace_error);
  CHECK(std::abs(estimated.summary[0].squared_frobenius - exact.summary[0].squared_frobenius) <
        4.0 * estimated.summary[0].squared_frobenius_error);
  CHECK(estimated.eigenvalues[0].value == Approx(exact.eigenvalues[0].value).epsilon(1e-6));
  // The value's error is the residual's square over the gap.
  CHECK(estimated.eigenvalues[0].residual < 1e-3 * exact.eigenvalues[0].value);
  CHECK(estimated.summary[0].products == 4 + 3 * 40 + 10 + 60);
  CHECK(estimated.probes.size() == 3);
}

// Of a trained model, in float32. What a product by differences gets wrong is in the noise and in
// the error behind every eigenvalue; its step is part of the cost.
TEST_CASE("spectrum: differences state their error, and it covers") {
  const Prepared p;
  REQUIRE(p.run({"train", "--set", "trainer.steps=12"}).exit_code == 0);
  const auto measured = [&](const std::string& method) {
    fs::remove_all(p.folder / "spectrum");
    const auto result = p.spectrum({"method=" + method, "lanczos_steps=30", "eigenpairs=2"},
                                   {"--model", (p.folder / "run").string()});
    INFO(result.errors);
    REQUIRE(result.exit_code == 0);
    if (method != "kept_graph") CHECK_THAT(result.output, !Contains("0.0e+00\nscaling"));
    return read_hessian_rows(p.file());
  };
  const auto exact = measured("kept_graph");
  CHECK(std::isnan(exact.summary[0].difference_error));
  for (const auto& [method, products, calibration] :
       {std::tuple{"finite_difference", 1, 9}, std::tuple{"central_difference", 2, 14}}) {
    const auto found = measured(method);
    const auto& row = found.summary[0];
    INFO(method);
    CHECK(row.noise > 0.0);
    CHECK(row.noise == row.difference_error);
    CHECK(row.noise < 0.1);
    CHECK(row.loss == Approx(exact.summary[0].loss).epsilon(1e-5));
    CHECK(row.gradients == double(products * row.products + calibration));
    REQUIRE(found.eigenvalues.size() == exact.eigenvalues.size());
    for (std::size_t i = 0; i < found.eigenvalues.size(); ++i) {
      INFO(found.eigenvalues[i].value << " +- " << found.eigenvalues[i].residual);
      CHECK(std::abs(found.eigenvalues[i].value - exact.eigenvalues[i].value) <=
            found.eigenvalues[i].residual + exact.eigenvalues[i].residual);
    }
    // The end that matters, to a percent.
    CHECK(found.eigenvalues[0].value == Approx(exact.eigenvalues[0].value).epsilon(0.01));
    CHECK(found.eigenvalues[0].residual < 0.1 * found.eigenvalues[0].value);
  }
}

TEST_CASE("spectrum: vectors in files give the same bits in less memory") {
  const Prepared p;
  const std::vector<std::string> wanted = {"method=finite_difference", "lanczos.steps=12",
                                           "trace.products=4"};
  const auto measured = [&](const std::string& where) {
    fs::remove_all(p.folder / "spectrum");
    auto settings = wanted;
    settings.push_back("vectors_in=" + where);
    const auto result = p.spectrum(settings);
    INFO(result.errors);
    REQUIRE(result.exit_code == 0);
    CHECK((result.output.find("in files: ") != std::string::npos) == (where == "file"));
    return read_hessian_rows(p.file());
  };
  const auto in_memory = measured("memory"), in_files = measured("file");
  check_same(in_memory, in_files);
  const auto elements = p.file().integer_column("/hessian/blocks/elements").at(0);
  // The basis alone is twelve vectors.
  CHECK(in_files.summary[0].peak_bytes < in_memory.summary[0].peak_bytes - 12 * 4 * elements);
}

TEST_CASE("spectrum: couplings, functions and pairs are those of the matrix") {
  const Prepared p;
  const std::vector<std::string> common = {"each=tensor", "roles=[query,mlp_out]", "damping=0.01"};
  const std::string functions =
      "functions=[absolute,negative,log_determinant,inverse,effective_dimension]";
  const auto measure = [&](std::vector<std::string> settings,
                           std::vector<std::string> arguments = {}) {
    fs::remove_all(p.folder / "spectrum");
    settings.insert(settings.end(), common.begin(), common.end());
    arguments.insert(arguments.end(), {"--precision", "fp64"});
    const auto result = p.spectrum(settings, arguments);
    INFO(result.errors);
    REQUIRE(result.exit_code == 0);
    return read_hessian_rows(p.file());
  };
  const auto exact = measure({functions, "coupling_products=2"}, {"--exact"});
  // Of part i, by its eigenvalues.
  const auto spectrum_of = [&](std::int64_t part) {
    std::vector<double> values;
    for (const auto& row : exact.eigenvalues) {
      if (row.part == part) values.push_back(row.value);
    }
    return values;
  };
  REQUIRE(exact.couplings.size() == 4);
  for (const auto& row : exact.couplings) {
    CHECK(row.squared_norm_error == 0.0);
    if (row.row_block != row.column_block) continue;
    double squares = 0.0;
    for (const double x : spectrum_of(row.row_block)) squares += x * x;
    CHECK(row.squared_norm == Approx(squares).epsilon(1e-10));
  }
  CHECK(exact.couplings[1].squared_norm == Approx(exact.couplings[2].squared_norm).epsilon(1e-10));
  REQUIRE(exact.functions.size() == 10);
  const auto estimated = measure({functions, "lanczos_steps=40", "probes=12",
                                  "coupling_products=30", "diagonal_products=200",
                                  "trace_method=xtrace", "trace_products=60", "trace_error=0.05"});
  for (std::size_t i = 0; i < 10; ++i) {
    const auto& truth = exact.functions[i];
    const auto& row = estimated.functions[i];
    INFO("function " << truth.function << " of block " << truth.part);
    CHECK(truth.error == 0.0);
    CHECK(row.probes == 12);
    CHECK((truth.low == truth.value && truth.high == truth.value && truth.converged == 1));
    // Five errors, and what 40 nodes leave open.
    CHECK(std::abs(row.value - truth.value) < 5.0 * row.error + row.quadrature_error);
    CHECK(row.low <= row.value);
    CHECK(row.value <= row.high);
    CHECK(row.high - row.low >= 2.0 * row.quadrature_error * 0.5);
  }
  for (std::size_t i = 0; i < 4; ++i) {
    CHECK(std::abs(estimated.couplings[i].squared_norm - exact.couplings[i].squared_norm) <
          5.0 * estimated.couplings[i].squared_norm_error);
  }
  for (std::size_t b = 0; b < 2; ++b) {
    CHECK(std::abs(estimated.summary[b].trace - exact.summary[b].trace) <
          5.0 * estimated.summary[b].trace_error);
    const auto read = [&](const std::string& name) {
      std::vector<double> values(
          static_cast<std::size_t>(p.file().integer_column("/hessian/blocks/elements")[b]));
      p.file().read_array(fmt::format("/hessian/vectors/{}/{}", b, name),
                          std::span<double>(values));
      return std::accumulate(values.begin(), values.end(), 0.0);
    };
    // Every row's norm has a relative error near sqrt(2 / 200) at most, and their sum less.
    CHECK(read("squared_row_norms") == Approx(exact.summary[b].squared_frobenius).epsilon(0.1));
    CHECK(std::abs(read("diagonal") - exact.summary[b].trace) < 5.0 * read("diagonal_error"));
  }
  for (const std::string solver : {"thick_restart", "spectra"}) {
    INFO(solver);
    const auto pairs = measure({"lanczos_steps=0", "eigenpairs=2", "eigen_tolerance=1e-9",
                                "eigen_products=2000", "eigensolver=" + solver});
    REQUIRE(pairs.eigenvalues.size() == 8);
    for (const auto& row : pairs.eigenvalues) {
      const auto values = spectrum_of(row.part);
      const auto place = row.index >= 0 ? row.index : std::ssize(values) + row.index;
      CHECK(row.value == Approx(values[static_cast<std::size_t>(place)]).epsilon(1e-6));
    }
  }
}

TEST_CASE("spectrum: functions add Lanczos steps until their quadrature is right, or say so") {
  const Prepared p;
  const auto measure = [&](std::vector<std::string> settings,
                           std::vector<std::string> arguments = {}) {
    fs::remove_all(p.folder / "spectrum");
    settings.insert(settings.end(),
                    {"probes=4", "damping=1e-4", "functions=[effective_dimension]"});
    arguments.insert(arguments.end(), {"--precision", "fp64"});
    const auto result = p.spectrum(settings, arguments);
    INFO(result.errors);
    REQUIRE(result.exit_code == 0);
    return std::pair{result.output, read_hessian_rows(p.file())};
  };
  const auto [cut_output, cut] = measure({"each=layer", "layers=[0]", "lanczos_steps=3"});
  CHECK_THAT(cut_output, Contains("effective_dimension") && Contains("not converged"));
  REQUIRE(cut.functions.size() == 1);
  CHECK(cut.functions[0].converged == 0);
  for (const auto& probe : cut.probes) CHECK(probe.lanczos_steps == 4 * 3);
  const std::vector<std::string> query = {"each=tensor", "roles=[query]", "lanczos_steps=4"};
  const auto [output, whole] = measure(query);
  CHECK(whole.functions[0].converged == 1);
  for (const auto& probe : whole.probes) CHECK(probe.lanczos_steps > 4);
  const auto exact = measure(query, {"--exact"}).second.functions[0].value;
  const auto& row = whole.functions[0];
  CHECK(std::abs(row.value - exact) < 5.0 * row.error + row.quadrature_error);
}

TEST_CASE("spectrum: ends that have not converged are no eigenvalues") {
  const Prepared p;
  const auto result = p.spectrum({"kind=gauss_newton", "lanczos_steps=0", "eigenpairs=1",
                                  "eigen_products=14", "eigensolver=spectra"});
  INFO(result.errors);
  REQUIRE(result.exit_code == 0);
  CHECK_THAT(result.output, Contains("<=") && Contains("not converged") &&
                                Contains("one that repeats is listed once"));
  const auto rows = read_hessian_rows(p.file());
  REQUIRE(rows.eigenvalues.size() == 2);
  for (const auto& row : rows.eigenvalues) {
    if (row.index == -1) CHECK(row.converged == 0);
  }
  CHECK(rows.summary[0].copies_found == 0);
}

// Three interruptions by a file-size limit would be a failure; a signal between products is not.
// The killed program leaves a file that is continued.
TEST_CASE("spectrum: killed and resumed it gives the same bits") {
  const Prepared p;
  const std::vector<std::string> settings = {"each=tensor",
                                             "roles=[query,mlp_out]",
                                             "lanczos_steps=30",
                                             "probes=2",
                                             "save_every=5",
                                             "coupling_products=2",
                                             "partitions=[adam_mini]",
                                             "eigensolver=thick_restart",
                                             "functions=[absolute]"};
  const auto undisturbed = p.spectrum(settings);
  REQUIRE(undisturbed.exit_code == 0);
  const auto whole = read_hessian_rows(p.file());
  int killed = 0;
  for (const auto& kill : kills_during(undisturbed.seconds, {0.4, 0.55, 0.7, 0.8, 0.9})) {
    fs::remove_all(p.folder / "spectrum");
    std::vector<std::string> arguments = {"spectrum", (p.folder / "run.yaml").string(),
                                          "--no-figure", "--output",
                                          (p.folder / "spectrum").string()};
    for (const auto& setting : settings) {
      arguments.insert(arguments.end(), {"--set", "hessian." + setting});
    }
    const auto first = run_program(arguments, kill);
    if (first.exit_code != 0) ++killed;
    REQUIRE(run_program(arguments).exit_code == 0);
    check_same(read_hessian_rows(p.file()), whole);
    CHECK(!fs::exists(p.folder / "spectrum/lanczos.h5"));
  }
  INFO("killed " << killed);
  CHECK(killed >= 1);
}

TEST_CASE("spectrum: in lockstep the numbers stay what they are alone") {
  const Prepared p;
  const std::vector<std::string> settings = {"each=tensor", "roles=[query,key,value]",
                                             "lanczos_steps=12", "method=fresh_graph"};
  REQUIRE(p.spectrum(settings).exit_code == 0);
  auto alone = read_hessian_rows(p.file());
  fs::remove_all(p.folder / "spectrum");
  auto together_settings = settings;
  together_settings.push_back("lockstep=2");
  REQUIRE(p.spectrum(together_settings).exit_code == 0);
  const auto together = read_hessian_rows(p.file());
  const auto order = [](HessianRows& rows) {
    std::ranges::stable_sort(rows.quadrature, {}, &QuadratureRow::part);
    std::ranges::stable_sort(rows.eigenvalues, {}, &EigenvalueRow::part);
  };
  auto sorted = together;
  order(sorted);
  order(alone);
  check_same(sorted, alone);
}

TEST_CASE("spectrum: a finished measurement stays, another one is refused") {
  const Prepared p;
  const std::vector<std::string> settings = {"roles=[norm]", "lanczos_steps=5"};
  REQUIRE(p.spectrum(settings).exit_code == 0);
  const auto again = p.spectrum(settings, {"--json"});
  CHECK(again.exit_code == 0);
  CHECK_THAT(again.output, Contains("\"state\":\"finished\""));
  const auto other = p.spectrum({"roles=[norm]", "lanczos_steps=6"});
  CHECK(other.exit_code == 2);
  CHECK_THAT(other.errors, Contains("another configuration"));
}

TEST_CASE("spectrum: bad input is one sentence") {
  const Prepared p;
  const auto error = [&](const std::vector<std::string>& settings,
                         const std::vector<std::string>& arguments = {}) {
    const auto result = p.spectrum(settings, arguments);
    CHECK(result.exit_code == 2);
    return result.errors;
  };
  CHECK_THAT(error({"roles=[router]"}), Contains("no part matches; the model has the roles"));
  CHECK_THAT(error({"roles=[qeury]"}), Contains("did you mean 'query'"));
  CHECK_THAT(error({"kind=fisher", "method=finite_difference"}), Contains("for the Hessian only"));
  CHECK_THAT(error({"functions=[log_determinant]", "damping=0"}),
             Contains("damping") && Contains("'log_determinant' needs one above 0"));
  CHECK_THAT(error({"trace_products=3", "trace_method=xtrace"}),
             Contains("trace_products") && Contains("at least 4 products"));
  for (const std::string key : {"preconditioning", "distances"}) {
    CHECK_THAT(error({"lanczos_steps=0", key + "=true"}),
               Contains("hessian." + key) && Contains("needs Lanczos steps"));
  }
  CHECK_THAT(error({"batch_size=1000", "batches=100000"}), Contains("GiB are available"));
  CHECK_THAT(error({}, {"--model", (p.folder / "nothing").string()}), Contains("no such model"));
  REQUIRE(p.run({"train"}).exit_code == 0);
  CHECK_THAT(error({"lanczos_steps=5"},
                   {"--model", (p.folder / "run").string(), "--set", "model.n_layer=2"}),
             Contains("there is no tensor 'model.layers.1.input_layernorm"));
  const auto alone = run_program({"spectrum"});
  CHECK(alone.exit_code == 2);
  CHECK_THAT(alone.errors, Contains("give a YAML file, or --model (and --tokens"));
}

TEST_CASE("spectrum: a checkpoint by --model and --tokens alone") {
  const Prepared p;
  REQUIRE(p.run({"train"}).exit_code == 0);
  const auto result = run_program(
      {"spectrum", "--model", (p.folder / "run").string(), "--tokens",
       (p.folder / "train.bin").string(), "--sequence-length", "8", "--no-figure", "--json",
       "--output", (p.folder / "spectrum").string(), "--set", "hessian.lanczos.steps=6"});
  INFO(result.errors);
  CHECK(result.exit_code == 0);
  CHECK_THAT(result.output, Contains("\"name\":\"all\""));
}

TEST_CASE("Probes of a run change nothing of it, and are continued") {
  const Prepared plain(8), probed(8);
  REQUIRE(plain.run({"train"}).exit_code == 0);
  const std::vector<std::string> settings = {"train",
                                             "--set",
                                             "hessian.every=3",
                                             "--set",
                                             "hessian.at_steps=[1]",
                                             "--set",
                                             "hessian.parts.each=layer",
                                             "--set",
                                             "hessian.lanczos.steps=5",
                                             "--set",
                                             "hessian.trace.products=3",
                                             "--set",
                                             "hessian.method=finite_difference"};
  REQUIRE(probed.run(settings).exit_code == 0);
  const auto without = read_run(plain.folder / "run/run.h5");
  const auto with = read_run(probed.folder / "run/run.h5");
  REQUIRE(without.steps.size() == with.steps.size());
  for (std::size_t i = 0; i < with.steps.size(); ++i) {
    CHECK(with.steps[i].loss == without.steps[i].loss);
    CHECK(with.steps[i].update_norm == without.steps[i].update_norm);
  }
  CHECK(with.evaluations.back().loss == without.evaluations.back().loss);
  std::vector<std::int64_t> steps;
  for (const auto& row : with.hessian.summary) steps.push_back(row.step);
  CHECK(steps == std::vector<std::int64_t>{0, 0, 1, 1, 3, 3, 6, 6});
}

TEST_CASE("Vectors in files: partitions, rates and measurements while training stay the same") {
  const Prepared p(4);
  const auto found = [&](const std::string& verb, const std::string& where, const char* file) {
    const auto output = p.folder / (verb + "-" + where);
    const auto result =
        p.run({verb, "--output", output.string(), "--set", "hessian.vectors_in=" + where, "--set",
               "hessian.method=finite_difference", "--set", "hessian.batch_size=1"});
    INFO(result.errors);
    REQUIRE(result.exit_code == 0);
    return read_text_file((output / file).string());
  };
  for (const auto& [verb, file] :
       {std::pair{"partition", "partition.yaml"}, std::pair{"search-lr", "rates.yaml"}}) {
    INFO(verb);
    CHECK(found(verb, "memory", file) == found(verb, "file", file));
  }
  const auto measured = [&](const std::string& where) {
    const auto output = p.folder / ("train-" + where);
    REQUIRE(p.run({"train", "--output", output.string(), "--set", "hessian.vectors_in=" + where,
                   "--set", "hessian.every=2", "--set", "hessian.lanczos.steps=5"})
                .exit_code == 0);
    return read_run(output / "run.h5").hessian;
  };
  const auto in_memory = measured("memory");
  REQUIRE(in_memory.summary.size() == 3);
  check_same(in_memory, measured("file"));
}
