// Files that a run reads together are of one tokenizer, as far as their manifests tell.
#include <fmt/format.h>

#include <fstream>
#include <map>

#include "core/data/token_file.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/set_fields.hpp"
#include "tests/support/temporary_folder.hpp"

using namespace blockwise;
using namespace blockwise::testing;
namespace fs = std::filesystem;

namespace {

// What made a folder's tokens; without a name the folder has no manifest.
struct Made {
  std::string tokenizer;
  std::int64_t vocab_size = 0;
  std::string file;  // the content of tokenizer.json; empty where there is none
};

const Made kBytes{"byte", 256, ""};
const Made kBpe{"bpe", 512, R"({"model": 1})"};
const Made kUnknown{};
const Made kDamaged{"damaged", 0, ""};

void write_folder(const fs::path& folder, const Made& made) {
  fs::create_directories(folder);
  TokenFileWriter writer(folder / "tokens.bin");
  writer.append(std::vector<std::uint16_t>(100, 7));
  writer.finish();
  if (!made.file.empty()) std::ofstream(folder / "tokenizer.json") << made.file;
  if (made.tokenizer == "damaged") {
    std::ofstream(folder / "manifest.json") << "{";
  } else if (!made.tokenizer.empty()) {
    std::ofstream(folder / "manifest.json")
        << fmt::format(R"({{"format":"blockwise-tokens","version":1,"tokenizer":"{}",)"
                       R"("vocab_size":{},"files":{{}}}})",
                       made.tokenizer, made.vocab_size);
  }
}

struct Case {
  std::string what;
  std::map<std::string, Made> folders;  // train or its parts, validation, named, test
  std::string refused;                  // the folder that the sentence names second; empty: taken
  std::string how = "";                 // and what it says about it
};

const std::vector<Case>& cases() {
  const Made other_bpe{"bpe", 512, R"({"model": 2})"}, wide_bpe{"bpe", 1024, ""};
  const Made nameless_bpe{"bpe", 512, ""};
  static const std::vector<Case> table = {
      {"one folder's manifest for both", {{"train", kBytes}, {"validation", kBytes}}, ""},
      {"another name",
       {{"train", kBytes}, {"validation", kBpe}},
       "validation",
       "'byte' of 256 tokens, but"},
      {"another size",
       {{"train", kBpe}, {"validation", wide_bpe}},
       "validation",
       "with 'bpe' of 1024:"},
      {"one name, another file",
       {{"train", kBpe}, {"validation", other_bpe}},
       "validation",
       "'bpe' of 512, whose tokenizer.json is another"},
      {"one name, one file", {{"train", kBpe}, {"validation", kBpe}}, ""},
      {"one name, a file that is not there", {{"train", kBpe}, {"validation", nameless_bpe}}, ""},
      {"no manifest beside the validation files",
       {{"train", kBytes}, {"validation", kUnknown}},
       ""},
      {"no manifest beside the training files", {{"train", kUnknown}, {"validation", kBytes}}, ""},
      {"no manifest at all", {{"train", kUnknown}, {"validation", kUnknown}}, ""},
      {"a damaged manifest", {{"train", kBytes}, {"validation", kDamaged}}, ""},
      {"a named validation set",
       {{"train", kBytes}, {"validation", kBytes}, {"named", kBpe}},
       "named",
       "with 'bpe' of 512"},
      {"a named validation set of the same",
       {{"train", kBpe}, {"validation", kBpe}, {"named", kBpe}},
       ""},
      {"a test set",
       {{"train", kBytes}, {"validation", kBytes}, {"test", kBpe}},
       "test",
       "with 'bpe' of 512"},
      {"a test set of the same", {{"train", kBytes}, {"validation", kBytes}, {"test", kBytes}}, ""},
      {"a test set without manifest",
       {{"train", kBytes}, {"validation", kBytes}, {"test", kUnknown}},
       ""},
      {"a validation and a test set that differ, training files that say nothing",
       {{"train", kUnknown}, {"validation", kBytes}, {"test", kBpe}},
       "test",
       "with 'bpe' of 512"},
      {"shards of the training files in two folders",
       {{"train-a", kBytes}, {"train-b", kBpe}, {"validation", kBytes}},
       "train-b",
       "with 'bpe' of 512"},
      {"and the first of them without manifest",
       {{"train-a", kUnknown}, {"train-b", kBpe}, {"validation", kBytes}},
       "validation",
       "with 'byte' of 256"}};
  return table;
}

nlohmann::json fields_of(const Case& c, const fs::path& folder) {
  const auto file = [&](const std::string& name) {
    return (folder / name / "tokens.bin").string();
  };
  const bool shards = c.folders.contains("train-a");
  nlohmann::json fields = {{"train", file(shards ? "train-*" : "train")},
                           {"validation", file("validation")},
                           {"sequence_length", 8},
                           {"vocab_size", 2048}};
  if (c.folders.contains("test")) fields["test"] = file("test");
  return fields;
}

// Gives the data set its further validation sets, which are no field of JSON.
class FieldsAndSets : public SetFields {
 public:
  FieldsAndSets(nlohmann::json fields, TextMap sets)
      : SetFields(std::move(fields)), sets_(std::move(sets)) {}
  void text_map(const Field&, TextMap& values) override { values = sets_; }

 private:
  TextMap sets_;
};

void open(const Case& c, const fs::path& folder) {
  TextMap sets;
  if (c.folders.contains("named")) sets = {{"other", (folder / "named/tokens.bin").string()}};
  FieldsAndSets visitor(fields_of(c, folder), sets);
  const auto spec = dataset_kinds().make("tokens");
  spec->visit(visitor);
  visitor.require_used();
  spec->open(1);
}

}  // namespace

TEST_CASE("Training files and those that judge are of one tokenizer, or refused by name") {
  for (const auto& c : cases()) {
    INFO(c.what);
    const TemporaryFolder folder;
    for (const auto& [name, made] : c.folders) write_folder(folder / name, made);
    const auto error = input_error([&] { open(c, folder.path()); });
    if (c.refused.empty()) {
      CHECK(error == "no error");
      continue;
    }
    CHECK_THAT(error, Contains("but " + (folder / c.refused / "manifest.json").string()) &&
                          Contains(c.how) && Contains("must be of one tokenizer"));
  }
}
