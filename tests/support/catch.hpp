// Catch2 (2.13 on Debian 12, 3 on newer systems) for test files. LibTorch defines a macro CHECK
// that would silently replace Catch2's, so it has to be seen first and removed.
#pragma once

#include <ATen/ATen.h>
#undef CHECK

#if __has_include(<catch2/catch_all.hpp>)
#include <catch2/catch_all.hpp>
// Version 2 has it in the global namespace, so a file that says no more than Approx builds there.
using Catch::Approx;
#else
#include <catch2/catch.hpp>
#endif

#include <string>

namespace blockwise::testing {

#if __has_include(<catch2/catch_all.hpp>)
using Catch::Approx;
inline auto Contains(const std::string& text) { return Catch::Matchers::ContainsSubstring(text); }
#else
using ::Approx;
inline auto Contains(const std::string& text) { return Catch::Matchers::Contains(text); }
#endif

}  // namespace blockwise::testing
