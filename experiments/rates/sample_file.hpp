// The finished samples of a search for rates, so that a stopped one goes on.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>

#include "hessian/evidence/best_rate.hpp"

namespace blockwise {

// A sample of a target: its place in the search.
using SampleKey = std::pair<std::int64_t, std::size_t>;

// A line of text each; a line that was cut off is measured again.
class SampleFile {
 public:
  struct Size {
    std::int64_t samples = 0;
    std::size_t targets = 0;
  };

  // Opens the file or, where there is none, begins one. Throws InputError where it is of a search
  // with another hash or size, and std::runtime_error where it cannot be written.
  SampleFile(std::string path, const std::string& hash, Size size);

  const CurvatureEnds* find(const SampleKey& key) const;
  void add(const SampleKey& key, const CurvatureEnds& ends);

 private:
  void append(const std::string& line) const;
  void take(const std::string& line);

  std::string path_;
  Size size_;
  std::map<SampleKey, CurvatureEnds> done_;
};

}  // namespace blockwise
