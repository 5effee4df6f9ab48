#include "experiments/command_line/data_options.hpp"

#include <CLI/CLI.hpp>

namespace blockwise {
namespace {

constexpr auto kRecipes =
    "Recipes:\n"
    "  nanoGPT's tiny Shakespeare, with GPT-2's tokens:\n"
    "    blockwise data --train input.txt --validation-fraction 0.1 --tokenizer gpt2 \\\n"
    "      --vocabulary encoder.json --merges vocab.bpe --format raw_uint16 --output data/mine\n"
    "  llm.c's:\n"
    "    blockwise data --train input.txt --validation-tokens 32768 --tokenizer gpt2 \\\n"
    "      --vocabulary encoder.json --merges vocab.bpe --documents blank-line \\\n"
    "      --document-separator before --output data/mine";

// The options that there are, and the words of those that were given.
class OptionList {
 public:
  explicit OptionList(CLI::App& verb) : verb_(verb) {}

  CLI::Option* add(const std::string& name, const std::string& type, const std::string& doc) {
    options_.push_back(verb_.add_option(name, doc)->type_name(type));
    return options_.back();
  }
  CLI::Option* files(const std::string& name, const std::string& doc) {
    return add(name, "FILE", doc)->expected(1, -1)->allow_extra_args();
  }
  CLI::Option* choice(const std::string& name, const std::string& doc,
                      const std::vector<std::string>& choices) {
    return add(name, "", doc)->check(CLI::IsMember(choices));
  }

  // The options that were given, as words of a command line.
  std::vector<std::string> words() const {
    std::vector<std::string> words;
    for (const auto* option : options_) {
      if (option->count() == 0) continue;
      words.push_back(option->get_name());
      words.insert(words.end(), option->results().begin(), option->results().end());
    }
    return words;
  }

 private:
  CLI::App& verb_;
  std::vector<CLI::Option*> options_;
};

void add_text_options(OptionList& o) {
  o.files("--train", "text to train on: UTF-8, or JSON lines (*.jsonl)")->required();
  o.files("--validation", "text to evaluate on");
  o.add("--validation-fraction", "SHARE", "instead: the last part of the characters of --train");
  o.add("--validation-tokens", "N", "instead: the first tokens of --train");
  o.choice("--documents", "what a document is; by default jsonl for *.jsonl and file for others",
           {"file", "blank-line", "line", "jsonl"});
  o.choice("--content", "text (default): other files are refused; binary: any bytes, as they are",
           {"text", "binary"});
  o.add("--text-field", "NAME", "jsonl: the field with the text (default: text)");
  o.choice("--document-separator", "an end-of-text token before or after each document",
           {"none", "before", "after"});
}

void add_tokenizer_options(OptionList& o) {
  o.add("--tokenizer", "NAME|FILE",
        "byte: one token per byte (default); bpe: trained on the training text; gpt2: GPT-2's, "
        "from its two files; or a tokenizer.json");
  o.add("--vocab-size", "N", "bpe: number of entries (default: 2048)");
  o.add("--vocabulary", "FILE", "gpt2: encoder.json or vocab.json");
  o.add("--merges", "FILE", "gpt2: vocab.bpe or merges.txt");
  o.add("--end-of-text", "NAME", "the separator in the tokenizer (default: <|endoftext|>)");
}

void add_output_options(OptionList& o) {
  o.add("--output", "DIR", "folder of the token files")->required();
  o.choice("--format",
           "llmc: with llm.c's header (default); bare: raw_uint16, as nanoGPT's, or raw_uint32",
           {"llmc", "raw_uint16", "raw_uint32"});
  o.add("--shard-tokens", "N", "tokens per file; without it one file each");
}

}  // namespace

void add_options(CLI::App& verb, DataOptions& options) {
  OptionList list(verb);
  add_text_options(list);
  add_tokenizer_options(list);
  add_output_options(list);
  verb.footer(verb.get_footer() + "\n" + kRecipes);
  verb.final_callback([list, &options] { options.words = list.words(); });
}

}  // namespace blockwise
