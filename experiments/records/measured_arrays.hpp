// Arrays of a measurement, one or several per part, that are made before they are known and hold
// NaN until then. Those of a file's only point lie in the group /hessian, of several points in
// /hessian/steps/STEP.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/io/hdf5_file.hpp"
#include "hessian/hessian_parts.hpp"
#include "hessian/lanczos.hpp"
#include "hessian/trace.hpp"

namespace blockwise {

// The matrix of each part: GROUP/exact/BLOCK/matrix [n, n].
void create_exact_matrices(Hdf5File& file, const std::string& group,
                           const std::vector<HessianPart>& parts);
void write_exact_matrix(Hdf5File& file, const std::string& group, std::size_t part,
                        const at::Tensor& matrix);

// GROUP/vectors/BLOCK/diagonal, diagonal_error, squared_row_norms, squared_row_norms_error and
// their 95 % intervals, squared_row_norms_low and _high, [n], and samples, the number behind each:
// with its quantile of Student's t the diagonal's error is half an interval's width.
void create_vectors(Hdf5File& file, const std::string& group,
                    const std::vector<HessianPart>& parts);
void write_vectors(Hdf5File& file, const std::string& group, std::size_t part,
                   const DiagonalAndRowNorms& vectors);

// GROUP/eigenvectors/BLOCK/value [k], residual [k] and vector/0, 1, ... [n], k at most the part's
// size: by descending |eigenvalue|, of unit norm, each up to its sign.
void create_eigenvectors(Hdf5File& file, const std::string& group,
                         const std::vector<HessianPart>& parts, std::int64_t count);
void write_eigenvectors(Hdf5File& file, const std::string& group, std::size_t part,
                        const std::vector<RitzPair>& pairs);

}  // namespace blockwise
