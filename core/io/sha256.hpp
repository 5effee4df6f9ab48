// SHA-256 (FIPS 180-4) by OpenSSL, as 64 hexadecimal digits.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

namespace blockwise {

std::string sha256(std::span<const std::byte> bytes);
std::string sha256(std::string_view text);
// Of a mapped file of any size: no more than 64 MiB of it are resident at a time.
std::string sha256_of_mapped(std::span<const std::byte> bytes);

}  // namespace blockwise
