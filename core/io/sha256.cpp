#include "core/io/sha256.hpp"

#include <fmt/format.h>
#include <openssl/evp.h>

#include <algorithm>
#include <memory>
#include <stdexcept>

#include "core/io/mapped_file.hpp"

namespace blockwise {
namespace {

class Sha256 {
 public:
  Sha256() { require(EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr)); }
  void add(std::span<const std::byte> bytes) {
    require(EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size()));
  }
  std::string digits() {
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int size = 0;
    require(EVP_DigestFinal_ex(context_.get(), digest, &size));
    std::string text;
    for (unsigned int i = 0; i < size; ++i) text += fmt::format("{:02x}", digest[i]);
    return text;
  }

 private:
  static void require(int done) {
    if (done != 1) throw std::runtime_error("OpenSSL offers no SHA-256");
  }
  std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context_{EVP_MD_CTX_new(),
                                                                   &EVP_MD_CTX_free};
};

}  // namespace

std::string sha256(std::span<const std::byte> bytes) {
  Sha256 hash;
  hash.add(bytes);
  return hash.digits();
}

std::string sha256(std::string_view text) { return sha256(std::as_bytes(std::span(text))); }

std::string sha256_of_mapped(std::span<const std::byte> bytes) {
  constexpr std::size_t kWindow = std::size_t{64} << 20;
  Sha256 hash;
  while (!bytes.empty()) {
    const auto window = bytes.first(std::min(kWindow, bytes.size()));
    hash.add(window);
    leave_pages(window);
    bytes = bytes.subspan(window.size());
  }
  return hash.digits();
}

}  // namespace blockwise
