// Parameter: one parameter tensor, described where the model makes it. Optimizers, partitions,
// Hessian blocks and checkpoints read this description; nothing ever parses a parameter's name.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace blockwise {

enum class ParameterRole {
  token_embedding,
  position_embedding,
  query,
  key,
  value,
  attention_output,
  mlp_in,
  mlp_gate,
  mlp_out,
  norm,
  bias,
  lm_head,
  router,
  lora_a,
  lora_b,
  other,
};

inline constexpr int kParameterRoleCount = 16;

std::string_view role_name(ParameterRole role);
// Names of all roles, in the order of the enum.
const std::vector<std::string>& role_names();
// Throws InputError for an unknown name.
ParameterRole role_from_name(std::string_view name);

// How a tensor starts. Normal is N(0, standard_deviation^2).
struct Initialization {
  enum class Kind { zeros, ones, normal, uniform };
  Kind kind = Kind::zeros;
  double scale = 0.0;  // normal: standard deviation; uniform: half width of [-scale, scale]
};

// Heads of a tensor: `count` groups of `dim` consecutive rows (query, key, value) or columns
// (attention output). count = 0 where the tensor has no heads.
struct Heads {
  enum class Axis { rows, columns };
  std::int64_t count = 0;
  std::int64_t dim = 0;
  Axis axis = Axis::rows;
  std::int64_t queries_per_head = 1;  // key and value heads under grouped-query attention: > 1
};

// Consecutive rows of a fused tensor that have one role, for example the value rows of a fused QKV.
struct FusedSection {
  ParameterRole role = ParameterRole::other;
  std::int64_t rows = 0;
  Heads heads;
};

// What the published package adam-mini 1.1.1 does to a tensor under the name that the model's own
// family gives it; only the partition rule `released_1_1_1` reads this.
enum class ReleasedTreatment { by_role, whole };

struct Parameter {
  std::string name;  // the Hugging Face name of the family
  ParameterRole role = ParameterRole::other;
  std::int64_t layer = -1;          // -1: outside the stack of layers
  std::vector<std::int64_t> shape;  // matrices are [out, in]
  std::int64_t offset = 0;          // first element in the flat buffer; set by ParameterLayout
  Heads heads;
  std::vector<FusedSection> sections;   // empty unless several roles share the tensor
  std::vector<std::string> tied_names;  // further names of the same storage
  Initialization initialization;
  ReleasedTreatment released = ReleasedTreatment::by_role;
  bool stored_transposed = false;  // Hugging Face's file holds [in, out]

  std::int64_t size() const;
  // The tensor as a matrix: [shape[0], product of the rest]; a vector is [n, 1].
  std::int64_t rows() const;
  std::int64_t columns() const;
  bool is_matrix() const { return shape.size() >= 2; }
};

}  // namespace blockwise
