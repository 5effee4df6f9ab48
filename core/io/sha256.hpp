// SHA-256 (FIPS 180-4) by OpenSSL, as 64 hexadecimal digits.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

namespace blockwise {

std::string sha256(std::span<const std::byte> bytes);
std::string sha256(std::string_view text);

}  // namespace blockwise
