// A JSON object that a model came with, read with checks: every mistake is an InputError that names
// the file, the key and the value.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

namespace blockwise {

class JsonConfig {
 public:
  static JsonConfig load(const std::filesystem::path& path);
  JsonConfig(std::string file, nlohmann::ordered_json object, std::string prefix = "");

  // A key that is there and not null.
  bool has(const std::string& key) const;
  std::int64_t integer(const std::string& key) const;  // required
  std::int64_t integer(const std::string& key, std::int64_t otherwise) const;
  double real(const std::string& key, double otherwise) const;
  bool boolean(const std::string& key, bool otherwise) const;
  std::string text(const std::string& key) const;  // required
  std::string text(const std::string& key, const std::string& otherwise) const;
  JsonConfig section(const std::string& key) const;  // required
  // Throws unless the text is one of `supported`.
  void require_text(const std::string& key, const std::string& otherwise,
                    const std::vector<std::string>& supported) const;
  // Throws unless the flag has this value.
  void require_flag(const std::string& key, bool otherwise, bool supported) const;
  [[noreturn]] void fail(const std::string& key, const std::string& what) const;

 private:
  const nlohmann::ordered_json& at(const std::string& key) const;

  std::string file_;
  nlohmann::ordered_json object_;
  std::string prefix_;
};

}  // namespace blockwise
