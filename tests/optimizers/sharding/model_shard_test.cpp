// Optimizers of shards against one of the whole: every registered rule, on every small model.
#include "optimizers/sharding/model_shard.hpp"

#include "core/base/error.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/optimizer_setup.hpp"
#include "tests/support/small_models.hpp"

using namespace blockwise;
using namespace blockwise::testing;

namespace {

constexpr double kRate = 1e-2;

// Without clipping: the norm is summed in another order over shards.
OptimizerConfig config_of(const std::string& rule) {
  return optimizer_config({{"rule", rule}, {"gradient_clip", 0.0}, {"weight_decay", 0.1}});
}

Owners owners_of(const Optimizer& whole, const ParameterLayout& layout, std::int64_t layers,
                 std::int64_t count) {
  return balanced_owners(
      layout, weight_units(layout, layers),
      [&](std::size_t i) {
        return whole.rules().of(i).rule->rows_together(layout.parameters()[i],
                                                       whole.partition().tensors()[i]);
      },
      count);
}

// One process that plays all of them.
struct Shards {
  ParameterStore store;
  std::vector<std::unique_ptr<ParameterStore>> rows;
  std::vector<std::unique_ptr<Optimizer>> optimizers;

  Shards(const std::string& rule, const ParameterLayout& layout, const Optimizer& whole,
         std::int64_t count)
      : store(layout, at::kCPU) {
    fill_parameters(store);
    const auto owners = owners_of(whole, layout, 0, count);
    for (std::int64_t r = 0; r < count; ++r) {
      auto shard = cut_shard(layout, whole.partition(), owners, r);
      shard.total = [](double own) { return own; };
      rows.push_back(std::make_unique<ParameterStore>(store, shard.layout, shard.begin));
      optimizers.push_back(
          std::make_unique<Optimizer>(config_of(rule), *rows.back(), std::move(shard), 5));
    }
  }
  void step(int draw) {
    fill_gradients(store, draw);
    for (auto& optimizer : optimizers) optimizer->step(kRate);
  }
  std::int64_t state_values() const {
    std::int64_t values = 0;
    for (const auto& optimizer : optimizers) {
      for (const auto& [name, tensor] : optimizer->saved_state()) values += tensor.numel();
    }
    return values;
  }
};

// A rank that has a share of every layer and of what is outside.
struct UnitShard {
  ParameterStore own;
  std::vector<std::size_t> tensors;  // of the model, those it has rows of
  std::unique_ptr<ParameterStore> rows;
  std::unique_ptr<Optimizer> optimizer;

  UnitShard(const std::string& rule, const ParameterStore& store, const Optimizer& whole,
            std::int64_t layers, const Owners& owners, std::int64_t rank)
      : own(store.layout(), at::kCPU, at::kFloat, std::nullopt, Gradients::released,
            OwnMasters{owners.own(rank), layers}) {
    for (std::size_t i = 0; i < store.tensors().size(); ++i) own.set_master(i, store.master(i));
    auto shard = cut_shard(store.layout(), whole.partition(), owners, rank);
    shard.total = [](double square) { return square; };
    tensors = shard.numbers;
    rows = std::make_unique<ParameterStore>(own, shard.layout, shard.begin);
    optimizer = std::make_unique<Optimizer>(config_of(rule), *rows, std::move(shard), 5);
  }
  at::Tensor piece(const at::Tensor& whole, std::size_t k) const {
    const auto own_piece = own.own_piece(tensors[k]);
    return whole.reshape({-1}).narrow(0, own_piece.begin, own_piece.values.numel());
  }
  void step(const ParameterStore& store) {
    for (std::size_t k = 0; k < tensors.size(); ++k) {
      const auto& gradient = rows->gradient(k);
      gradient.copy_(piece(store.gradient(tensors[k]), k).view(gradient.sizes()));
    }
    optimizer->step(kRate);
  }
  void check_same(const ParameterStore& store) const {
    for (std::size_t k = 0; k < tensors.size(); ++k) {
      const auto expected = piece(store.master(tensors[k]), k);
      CHECK(at::equal(own.own_piece(tensors[k]).values, expected));
    }
  }
};

void check_units(const std::string& rule, const SmallModel& model, std::int64_t count) {
  const auto spec = model.spec();
  const auto layers = spec->separate_layers();
  ParameterStore store(spec->layout(), at::kCPU);
  fill_parameters(store);
  Optimizer whole(config_of(rule), store, 5);
  const auto owners = owners_of(whole, store.layout(), layers, count);
  std::vector<std::unique_ptr<UnitShard>> shards;
  for (std::int64_t rank = 0; rank < count; ++rank) {
    shards.push_back(std::make_unique<UnitShard>(rule, store, whole, layers, owners, rank));
  }
  for (int draw = 0; draw < 3; ++draw) {
    fill_gradients(store, draw);
    for (auto& shard : shards) shard->step(store);
    whole.step(kRate);
  }
  if (rule == "dion") return;  // see check_rule()
  for (const auto& shard : shards) shard->check_same(store);
}

// Throws InputError where the rule cannot be cut into shards.
void check_rule(const std::string& rule, const ParameterLayout& layout, std::int64_t count) {
  ParameterStore store(layout, at::kCPU);
  fill_parameters(store);
  Optimizer whole(config_of(rule), store, 5);
  Shards shards(rule, layout, whole, count);
  for (int draw = 0; draw < 3; ++draw) {
    fill_gradients(store, draw);
    whole.step(kRate);
    shards.step(draw);
  }
  if (rule == "dion") {
    // Its decompositions round otherwise where state begins at another multiple of the vector
    // width.
    CHECK(at::allclose(store.parameters(), shards.store.parameters(), 1e-3, 1e-5));
  } else {
    CHECK(at::equal(store.parameters(), shards.store.parameters()));
  }
  std::int64_t values = 0;
  for (const auto& [name, tensor] : whole.saved_state()) values += tensor.numel();
  CHECK(shards.state_values() == values);
}

}  // namespace

TEST_CASE("sharding: every rule makes the same steps on shards, or is refused by name") {
  int same = 0, refused = 0;
  for (const auto& entry : update_rules()) {
    if (takes_curvature(entry.name)) continue;
    INFO(entry.name);
    try {
      for (const auto& model : small_models()) {
        INFO(model.name);
        for (const std::int64_t count : {2, 3, 7})
          check_rule(entry.name, model.spec()->layout(), count);
        check_units(entry.name, model, 3);
      }
      ++same;
    } catch (const InputError& error) {
      CHECK_THAT(std::string(error.what()), blockwise::testing::Contains("'" + entry.name + "'"));
      ++refused;
    }
  }
  INFO(same << " the same, " << refused << " refused");
  CHECK(same > 30);
}

TEST_CASE("sharding: shards cover the model, cut where the rule allows it, and are even") {
  Parameter table, matrix, bias;
  table.name = "table", table.shape = {1000, 8}, table.role = ParameterRole::token_embedding;
  matrix.name = "matrix", matrix.shape = {64, 100}, matrix.role = ParameterRole::mlp_in;
  bias.name = "bias", bias.shape = {64}, bias.role = ParameterRole::bias;
  const ParameterLayout layout({table, matrix, bias});
  const auto rows = [](std::size_t i) { return i == 1 ? std::int64_t{16} : std::int64_t{1}; };
  for (const std::int64_t count : {1, 2, 3, 4, 16}) {
    const auto bounds = balanced_owners(layout, weight_units(layout, 0), rows, count).units()[0];
    REQUIRE(std::int64_t(bounds.size()) == count + 1);
    CHECK(bounds.front() == 0);
    CHECK(bounds.back() == layout.size());
    for (std::int64_t r = 1; r < count; ++r) {
      const auto bound = bounds[std::size_t(r)];
      CHECK(bound >= bounds[std::size_t(r) - 1]);
      if (bound < 8000) CHECK(bound % 8 == 0);
      if (bound > 8000 && bound < 14400) CHECK((bound - 8000) % 1600 == 0);
      // At most half a unit of 16 rows from the even share.
      CHECK(std::abs(bound - layout.size() * r / count) <= 800);
    }
  }
}

// Muon's and SOAP's matrices have one owner each: of four in a layer, on eight ranks, the same
// ranks would have them all.
TEST_CASE("sharding: matrices that stay whole are spread over ranks from layer to layer") {
  constexpr std::int64_t kLayers = 24, kWidth = 64;
  std::vector<Parameter> parameters;
  const auto add = [&](std::int64_t layer, std::vector<std::int64_t> shape) {
    Parameter p;
    p.name = std::to_string(parameters.size());
    p.layer = layer;
    p.shape = std::move(shape);
    parameters.push_back(p);
  };
  add(-1, {1000, kWidth});
  for (std::int64_t layer = 0; layer < kLayers; ++layer) {
    for (const std::int64_t rows : {3, 1, 4, 4}) add(layer, {rows * kWidth, kWidth});
  }
  add(-1, {kWidth});
  const ParameterLayout layout(parameters);
  const auto units = weight_units(layout, kLayers);
  const auto rows_together = [&](std::size_t i) {
    return layout.parameters()[i].layer < 0 ? 1 : layout.parameters()[i].rows();
  };
  for (const std::int64_t count : {2, 3, 4, 8, 16}) {
    INFO(count << " ranks");
    const auto owners = balanced_owners(layout, units, rows_together, count);
    for (std::int64_t rank = 0; rank < count; ++rank) {
      const auto size = owners.place(rank, layout.size());
      // The largest matrix is 4 x 64 x 64.
      CHECK(std::abs(double(size) - double(layout.size()) / double(count)) <= 4 * kWidth * kWidth);
    }
  }
}

// Else one process would sum gradients while the others take an estimate of the curvature.
TEST_CASE("sharding: a share without a tensor wants curvature when the others do") {
  const auto layout = small_models().front().spec()->layout();
  ParameterStore store(layout, at::kCPU);
  const auto config = config_of("sophia_g");
  const Optimizer whole(config, store, 5);
  REQUIRE(whole.wants_curvature());
  for (std::int64_t rank = 0; rank < 2; ++rank) {
    auto shard = cut_shard(layout, whole.partition(), Owners({{0, 0, layout.size()}}), rank);
    shard.total = [](double own) { return own; };
    CHECK(shard.layout.parameters().empty() == (rank == 0));
    ParameterStore rows(store, shard.layout, shard.begin);
    CHECK(Optimizer(config, rows, std::move(shard), 5).wants_curvature());
  }
}

TEST_CASE("sharding: rates per block are refused by their key, before their file is read") {
  const auto layout = small_models().front().spec()->layout();
  ParameterStore store(layout, at::kCPU);
  const Optimizer whole(config_of("adam_mini"), store, 5);
  auto config = config_of("adam_mini");
  config.block_lr = "no such file";
  auto shard = cut_shard(layout, whole.partition(), owners_of(whole, layout, 0, 2), 0);
  ParameterStore rows(store, shard.layout, shard.begin);
  CHECK_THAT(input_error([&] { Optimizer(config, rows, std::move(shard), 5); }),
             blockwise::testing::Contains("(optimizer.block_lr)"));
}

TEST_CASE("sharding: norms are those of all shards, and the clipping that follows from them") {
  const auto layout = small_models().front().spec()->layout();
  auto config = config_of("adamw");
  config.gradient_clip = 0.5;
  ParameterStore store(layout, at::kCPU), cut(layout, at::kCPU);
  fill_parameters(store);
  fill_parameters(cut);
  Optimizer whole(config, store, 5);
  const auto owners = owners_of(whole, layout, 0, 2);
  fill_gradients(store, 0);
  fill_gradients(cut, 0);
  const auto report = whole.step(kRate);
  for (std::int64_t r = 0; r < 2; ++r) {
    auto shard = cut_shard(layout, whole.partition(), owners, r);
    // What the other shard would say.
    const auto all = report;
    bool is_gradient = true;
    shard.total = [&](double) {
      const auto norm = is_gradient ? all.gradient_norm : all.update_norm;
      is_gradient = false;
      return norm * norm;
    };
    ParameterStore rows(cut, shard.layout, shard.begin);
    Optimizer own(config, rows, std::move(shard), 5);
    CHECK(own.step(kRate).gradient_norm == Approx(report.gradient_norm));
  }
  // The clipping factor is rounded once more: sqrt of a square.
  CHECK(at::allclose(store.parameters(), cut.parameters(), 1e-6, 1e-8));
}
