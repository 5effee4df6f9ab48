#include "experiments/records/measured_arrays.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <limits>

#include "hessian/row_norm_interval.hpp"

namespace blockwise {
namespace {

void create_array(Hdf5File& file, const std::string& path, const std::vector<std::int64_t>& shape,
                  const char* doc) {
  std::int64_t size = 1;
  for (const auto extent : shape) size *= extent;
  const std::vector<double> unknown(static_cast<std::size_t>(size),
                                    std::numeric_limits<double>::quiet_NaN());
  file.write_array(path, std::span<const double>(unknown), shape, "1", doc);
}

void overwrite(Hdf5File& file, const std::string& path, const at::Tensor& values) {
  const auto data = values.to(at::kCPU, at::kDouble).contiguous();
  file.overwrite_array(path, {data.data_ptr<double>(), static_cast<std::size_t>(data.numel())});
}

std::string group_of(const std::string& group, const char* kind, std::size_t part) {
  return fmt::format("{}/{}/{}", group, kind, part);
}

// A vector of a part, [n].
struct VectorArray {
  const char* name;
  const char* doc;
  at::Tensor (*value)(const DiagonalAndRowNorms&);
};

const VectorArray kVectors[] = {
    {"diagonal", "diagonal", [](const auto& found) { return found.diagonal.value; }},
    {"diagonal_error", "its standard error",
     [](const auto& found) { return found.diagonal.standard_error; }},
    {"squared_row_norms", "squared norms of the rows",
     [](const auto& found) { return found.squared_row_norms.value; }},
    {"squared_row_norms_error", "their standard errors",
     [](const auto& found) { return found.squared_row_norms.standard_error; }},
    {"squared_row_norms_low", "lower ends of their 95 % intervals (chi-squared)",
     [](const auto& found) { return squared_row_norm_interval(found).low; }},
    {"squared_row_norms_high", "upper ends",
     [](const auto& found) { return squared_row_norm_interval(found).high; }}};
constexpr const char* kSamples = "samples";

}  // namespace

void create_exact_matrices(Hdf5File& file, const std::string& group,
                           const std::vector<HessianPart>& parts) {
  file.create_group(group + "/exact");
  for (std::size_t b = 0; b < parts.size(); ++b) {
    const auto place = group_of(group, "exact", b);
    file.create_group(place);
    create_array(file, place + "/matrix", {parts[b].size(), parts[b].size()},
                 "the block, row-major; NaN until it is computed");
  }
}

void write_exact_matrix(Hdf5File& file, const std::string& group, std::size_t part,
                        const at::Tensor& matrix) {
  overwrite(file, group_of(group, "exact", part) + "/matrix", matrix);
}

void create_vectors(Hdf5File& file, const std::string& group,
                    const std::vector<HessianPart>& parts) {
  file.create_group(group + "/vectors");
  for (std::size_t b = 0; b < parts.size(); ++b) {
    const auto place = group_of(group, "vectors", b);
    file.create_group(place);
    for (const auto& array : kVectors) {
      create_array(file, fmt::format("{}/{}", place, array.name), {parts[b].size()}, array.doc);
    }
    create_array(file, fmt::format("{}/{}", place, kSamples), {1},
                 "products behind every value: the diagonal's t has one degree of freedom less");
  }
}

void write_vectors(Hdf5File& file, const std::string& group, std::size_t part,
                   const DiagonalAndRowNorms& vectors) {
  const auto place = group_of(group, "vectors", part);
  for (const auto& array : kVectors) {
    const auto path = fmt::format("{}/{}", place, array.name);
    // A file that an earlier version began has no intervals.
    if (file.has(path)) overwrite(file, path, array.value(vectors));
  }
  overwrite(file, fmt::format("{}/{}", place, kSamples),
            at::full({1}, static_cast<double>(vectors.diagonal.products), at::kDouble));
}

void create_eigenvectors(Hdf5File& file, const std::string& group,
                         const std::vector<HessianPart>& parts, std::int64_t count) {
  file.create_group(group + "/eigenvectors");
  for (std::size_t b = 0; b < parts.size(); ++b) {
    const auto place = group_of(group, "eigenvectors", b);
    const auto k = std::min(count, parts[b].size());
    file.create_group(place);
    create_array(file, place + "/value", {k}, "eigenvalues by descending magnitude; NaN: none");
    create_array(file, place + "/residual", {k}, "|Au - value u| by one more product; 0: exact");
    file.create_group(place + "/vector");
    for (std::int64_t i = 0; i < k; ++i) {
      create_array(file, fmt::format("{}/vector/{}", place, i), {parts[b].size()},
                   "eigenvector of unit norm, up to its sign, in the order of the block's pieces");
    }
  }
}

void write_eigenvectors(Hdf5File& file, const std::string& group, std::size_t part,
                        const std::vector<RitzPair>& pairs) {
  const auto place = group_of(group, "eigenvectors", part);
  const auto size = file.array_shape(place + "/value").at(0);
  auto values = at::full({size}, std::numeric_limits<double>::quiet_NaN(), at::kDouble);
  auto residuals = values.clone();
  for (std::int64_t i = 0; i < std::min(size, static_cast<std::int64_t>(pairs.size())); ++i) {
    const auto& pair = pairs[static_cast<std::size_t>(i)];
    values[i] = pair.value;
    residuals[i] = pair.residual < 0.0 ? pair.residual_bound : pair.residual;
    overwrite(file, fmt::format("{}/vector/{}", place, i), pair.vector);
  }
  overwrite(file, place + "/value", values);
  overwrite(file, place + "/residual", residuals);
}

}  // namespace blockwise
