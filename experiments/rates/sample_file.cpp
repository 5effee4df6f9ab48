#include "experiments/rates/sample_file.hpp"

#include <fmt/format.h>

#include <fstream>
#include <sstream>
#include <stdexcept>

#include "core/base/error.hpp"
#include "core/io/atomic_file.hpp"
#include "core/io/input_file.hpp"

namespace blockwise {
namespace {

// The file's whole lines, none where there is no file. What a killed process or a full disk left of
// a last line is taken away: the next line would be written behind it, and "1" and "12 3 ..." make
// a line of another sample.
std::string whole_lines(const std::string& path, std::size_t limit) {
  if (!input_exists(path)) return "";
  auto text = read_text_file(path, limit);
  if (text.empty() || text.back() == '\n') return text;
  text.resize(text.rfind('\n') + 1);  // npos + 1 is 0
  write_file_atomically(path, text);
  return text;
}

}  // namespace

SampleFile::SampleFile(std::string path, const std::string& hash, Size size)
    : path_(std::move(path)), size_(size) {
  constexpr std::size_t kHead = 4096, kLine = 256;
  const auto lines = static_cast<std::size_t>(size.samples) * size.targets;
  std::istringstream file(whole_lines(path_, kHead + kLine * lines));
  std::string line;
  if (!std::getline(file, line)) {
    append(hash);
    return;
  }
  require_input(
      line == hash,
      "{}: a search with another configuration, on other data or of another model ({}, this "
      "one is {}). Give this one another --output, or delete the file.",
      path_, line, hash);
  while (std::getline(file, line)) take(line);
}

const CurvatureEnds* SampleFile::find(const SampleKey& key) const {
  const auto found = done_.find(key);
  return found == done_.end() ? nullptr : &found->second;
}

void SampleFile::add(const SampleKey& key, const CurvatureEnds& ends) {
  append(fmt::format("{} {} {} {} {} {} {} end", key.first, key.second, ends.largest, ends.smallest,
                     ends.error, ends.smallest_error, ends.products));
  done_[key] = ends;
}

void SampleFile::append(const std::string& line) const {
  std::ofstream file(path_, std::ios::app);
  file << line << "\n";
  file.close();
  if (!file) throw std::runtime_error(fmt::format("{}: cannot be written", path_));
}

void SampleFile::take(const std::string& line) {
  std::istringstream words(line);
  SampleKey key;
  auto& [sample, target] = key;
  CurvatureEnds ends;
  std::string end;
  words >> sample >> target >> ends.largest >> ends.smallest >> ends.error >> ends.smallest_error >>
      ends.products >> end;
  if (end != "end") return;
  require_input(sample >= 0 && sample < size_.samples && target < size_.targets,
                "{}: sample {} of target {}, there are {} of {} targets", path_, sample, target,
                size_.samples, size_.targets);
  require_input(
      ends.products >= 0 && ends.error >= 0.0 && ends.smallest_error >= 0.0,
      "{}: sample {} of target {} has {} products and errors of {} and {}, all are at least 0",
      path_, sample, target, ends.products, ends.error, ends.smallest_error);
  done_[key] = ends;
}

}  // namespace blockwise
