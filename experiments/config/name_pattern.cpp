#include "experiments/config/name_pattern.hpp"

#include <algorithm>
#include <numeric>
#include <utility>

namespace blockwise {
namespace {

// One place of a pattern: any text, or a set of characters that it takes.
struct Element {
  bool star = false;
  bool any = false;
  bool negated = false;
  std::string characters;

  bool takes(char c) const { return any || (characters.find(c) != std::string::npos) != negated; }
};

// "[...]" from `begin` on, and where it ends; nothing where it is not closed.
std::pair<Element, std::size_t> bracket(std::string_view pattern, std::size_t begin) {
  Element element;
  auto i = begin + 1;
  element.negated = i < pattern.size() && (pattern[i] == '!' || pattern[i] == '^');
  if (element.negated) ++i;
  for (const auto first = i; i < pattern.size() && (pattern[i] != ']' || i == first); ++i) {
    const bool range = i + 2 < pattern.size() && pattern[i + 1] == '-' && pattern[i + 2] != ']';
    if (!range) {
      element.characters += pattern[i];
      continue;
    }
    for (int c = pattern[i]; c <= pattern[i + 2]; ++c) element.characters += static_cast<char>(c);
    i += 2;
  }
  return {element, i};
}

std::vector<Element> elements_of(std::string_view pattern) {
  std::vector<Element> elements;
  for (std::size_t i = 0; i < pattern.size(); ++i) {
    const char c = pattern[i];
    if (c == '[') {
      const auto [element, end] = bracket(pattern, i);
      if (end < pattern.size()) {
        elements.push_back(element);
        i = end;
        continue;
      }
    }
    const bool escaped = c == '\\' && i + 1 < pattern.size();
    if (escaped) ++i;
    Element element;
    element.star = !escaped && c == '*';
    element.any = !escaped && c == '?';
    element.characters = pattern[i];
    elements.push_back(element);
  }
  return elements;
}

// Levenshtein distance of a name to the nearest text that matches: dynamic programming over
// elements, where a star takes any text for nothing.
std::size_t distance(const std::vector<Element>& elements, std::string_view name) {
  std::vector<std::size_t> row(name.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (const auto& element : elements) {
    auto diagonal = row[0];
    row[0] += element.star ? 0 : 1;
    for (std::size_t j = 0; j < name.size(); ++j) {
      const auto above = row[j + 1];
      row[j + 1] =
          element.star
              ? std::min(above, row[j])
              : std::min({diagonal + (element.takes(name[j]) ? 0 : 1), above + 1, row[j] + 1});
      diagonal = above;
    }
  }
  return row.back();
}

}  // namespace

bool matches_pattern(std::string_view pattern, std::string_view name) {
  return distance(elements_of(pattern), name) == 0;
}

std::vector<std::string> nearest_names(std::string_view pattern,
                                       const std::vector<std::string>& names, std::size_t most) {
  const auto elements = elements_of(pattern);
  const auto letters = std::ranges::count_if(elements, [](const auto& e) { return !e.star; });
  std::vector<std::pair<std::size_t, std::string>> found;
  for (const auto& name : names) {
    const auto changes = distance(elements, name);
    if (changes <= std::max<std::size_t>(2, static_cast<std::size_t>(letters) / 3)) {
      found.emplace_back(changes, name);
    }
  }
  std::ranges::stable_sort(found, {}, [](const auto& entry) { return entry.first; });
  std::vector<std::string> nearest;
  for (std::size_t i = 0; i < std::min(most, found.size()); ++i) nearest.push_back(found[i].second);
  return nearest;
}

}  // namespace blockwise
