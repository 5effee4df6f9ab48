// Options as JSON: written and read back for everything that a registry has, and what is refused.
#include "core/base/json_fields.hpp"

#include "core/dataset.hpp"
#include "core/model.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/set_fields.hpp"
#include "tests/support/small_models.hpp"

using namespace blockwise;
using namespace blockwise::testing;

TEST_CASE("json fields: options of every model and data set read back as they were written") {
  for (const auto& model : small_models()) {
    INFO(model.name);
    const auto spec = model.spec();
    const auto written = json_of(*spec);
    const auto again = model_families().make(spec->family());
    set_from_json(*again, nlohmann::json(written));
    CHECK(json_of(*again).dump() == written.dump());
    CHECK(again->layout().size() == spec->layout().size());
  }
  for (const auto& entry : dataset_kinds()) {
    INFO(entry.name);
    const auto spec = entry.make();
    const auto again = entry.make();
    set_from_json(*again, nlohmann::json(json_of(*spec)));
    CHECK(json_of(*again).dump() == json_of(*spec).dump());
  }
}

TEST_CASE("json fields: values of another type or out of bounds are refused by name") {
  const auto refused = [](const nlohmann::json& options) {
    return input_error([&] { set_from_json(*model_families().make("llama"), options); });
  };
  CHECK_THAT(refused({{"n_layer", 1.5}}), Contains("n_layer is 1.5, which is of another type"));
  CHECK_THAT(refused({{"n_layer", "two"}}), Contains("n_layer is \"two\""));
  CHECK_THAT(refused({{"n_layer", std::uint64_t{1} << 63}}), Contains("which is of another type"));
  CHECK_THAT(refused({{"n_layer", -1}}), Contains("n_layer is -1, allowed are"));
  CHECK_THAT(refused({{"tie_word_embeddings", 1}}), Contains("tie_word_embeddings is 1"));
  CHECK_THAT(refused({{"layers", 3}}), Contains("there is no option 'layers'"));
  CHECK_THAT(refused({{"rope_scaling", {{"kind", "none at all"}}}}),
             Contains("rope_scaling.kind is 'none at all', allowed are"));
}
