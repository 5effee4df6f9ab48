// A JSON object that a model came with, read with checks: every mistake is an InputError that names
// the file, the key and the value. What was never asked for can be listed.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

namespace blockwise {

class JsonConfig {
 public:
  static JsonConfig load(const std::filesystem::path& path);
  JsonConfig(std::string file, nlohmann::ordered_json object);

  const std::string& file() const { return file_; }
  // A copy with this value under the key.
  JsonConfig with(const std::string& key, nlohmann::ordered_json value) const;

  bool contains(const std::string& key) const;  // be it null
  bool has(const std::string& key) const;       // and not null
  bool filled(const std::string& key) const;    // and neither an empty object nor an empty list
  // Each throws where the value has another type, null included; without a default also where there
  // is none.
  std::int64_t integer(const std::string& key) const;
  std::int64_t integer(const std::string& key, std::int64_t otherwise) const;
  std::int64_t positive(const std::string& key) const;  // at least 1
  std::int64_t positive(const std::string& key, std::int64_t otherwise) const;
  double real(const std::string& key) const;
  double real(const std::string& key, double otherwise) const;
  bool boolean(const std::string& key, bool otherwise) const;
  std::string text(const std::string& key) const;
  std::string text(const std::string& key, const std::string& otherwise) const;
  std::vector<std::string> texts(const std::string& key) const;
  // One whole number or a list of them; none where the key is null or not there. Some folders say
  // -1 for a token that they do not have: negative ones are left out.
  std::vector<std::int64_t> token_ids(const std::string& key) const;
  JsonConfig section(const std::string& key) const;

  // Throws unless the flag has this value.
  void require_flag(const std::string& key, bool otherwise, bool supported) const;
  // Throws unless the key is not there, null, or an empty object or list.
  void require_nothing(const std::string& key, const std::string& why) const;
  [[noreturn]] void fail(const std::string& key, const std::string& what) const;

  // Keys, dotted in sections, that none of the above asked for, of this object and its sections.
  std::vector<std::string> unread() const;

 private:
  JsonConfig(std::string file, nlohmann::ordered_json object, std::string prefix,
             std::shared_ptr<std::set<std::string>> asked);
  const nlohmann::ordered_json& at(const std::string& key) const;
  std::int64_t whole(const std::string& key, const nlohmann::ordered_json& value) const;

  std::string file_;
  nlohmann::ordered_json object_;
  std::string prefix_;
  std::shared_ptr<std::set<std::string>> asked_;  // by this object and its sections, dotted
};

}  // namespace blockwise
