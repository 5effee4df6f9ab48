#include "core/io/safetensors.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <nlohmann/json.hpp>
#include <numeric>
#include <set>

#include "core/base/error.hpp"
#include "core/io/mapped_file.hpp"
#include "core/io/mapped_writer.hpp"

namespace blockwise {
namespace {

static_assert(std::endian::native == std::endian::little, "safetensors data is little-endian");

using Json = nlohmann::ordered_json;

constexpr std::size_t kPrefix = 8;  // the header's length
constexpr std::size_t kHeaderLimit = 100'000'000;
constexpr int kDeepest = 3;  // {"name": {"shape": [
constexpr std::size_t kMostAxes = 16;
constexpr std::int64_t kMostBools = std::int64_t{1} << 30;  // each is looked at

struct Dtype {
  std::string_view name;
  at::ScalarType type;
};
constexpr Dtype kDtypes[] = {{"F64", at::kDouble},    {"F32", at::kFloat}, {"F16", at::kHalf},
                             {"BF16", at::kBFloat16}, {"I64", at::kLong},  {"I32", at::kInt},
                             {"I16", at::kShort},     {"I8", at::kChar},   {"U8", at::kByte},
                             {"BOOL", at::kBool}};

// Of the format, too, but without an equivalent here.
constexpr std::string_view kOtherDtypes[] = {"F4",      "F6_E2M3", "F6_E3M2",     "F8_E5M2",
                                             "F8_E4M3", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ",
                                             "U16",     "U32",     "U64",         "C64"};

std::string dtype_name(at::ScalarType type) {
  for (const auto& dtype : kDtypes) {
    if (dtype.type == type) return std::string(dtype.name);
  }
  throw InvariantError(fmt::format("safetensors has no dtype for {}", c10::toString(type)));
}

// One tensor as the header says it, before it is checked against the others.
struct Entry {
  std::string name;
  at::ScalarType type;
  std::vector<std::int64_t> shape;
  std::int64_t begin = 0;
  std::int64_t end = 0;
};

// Reads one file; every error starts with its name.
class Reader {
 public:
  explicit Reader(const std::filesystem::path& path) : path_(path), file_(map_file(path)) {}

  SafetensorsFile read() {
    result_.path = path_.string();
    const auto json = parse_header();
    require(json.is_object(), "the header is no JSON object");
    std::vector<Entry> entries;
    for (const auto& [name, value] : json.items()) {
      if (name == "__metadata__") {
        read_metadata(value);
      } else {
        entries.push_back(read_entry(name, value));
      }
    }
    check_offsets(entries);
    for (const auto& entry : entries) result_.tensors.emplace_back(entry.name, tensor(entry));
    return std::move(result_);
  }

 private:
  template <typename... Args>
  void require(bool condition, fmt::format_string<Args...> text, Args&&... args) const {
    if (condition) return;
    throw InputError(fmt::format("{}: not a valid safetensors file: {}", path_.string(),
                                 fmt::format(text, std::forward<Args>(args)...)));
  }

  Json parse_header() {
    const auto bytes = file_.bytes;
    require(bytes.size() >= kPrefix, "{} bytes, the header's length alone has {}", bytes.size(),
            kPrefix);
    std::uint64_t length = 0;
    std::memcpy(&length, bytes.data(), kPrefix);
    require(length <= kHeaderLimit, "a header of {} bytes, at most {} are accepted", length,
            kHeaderLimit);
    require(length <= bytes.size() - kPrefix, "a header of {} bytes in a file of {}", length,
            bytes.size());
    data_ = bytes.subspan(kPrefix + length);
    const auto* text = reinterpret_cast<const char*>(bytes.data()) + kPrefix;
    try {
      return Json::parse(text, text + length, repeated_name_check());
    } catch (const Json::parse_error& error) {
      require(false, "the header is no JSON from byte {} on", error.byte);
      throw;
    } catch (const Json::exception&) {
      require(false, "the header is no JSON: a number is out of range");
      throw;
    }
  }

  // JSON libraries keep one of two equal names without a word; here it is an error.
  Json::parser_callback_t repeated_name_check() {
    return [this, names = std::vector<std::set<std::string>>()](
               int depth, Json::parse_event_t event, Json& value) mutable {
      require(depth <= kDeepest, "the header is nested too deeply");
      if (event == Json::parse_event_t::object_start) names.emplace_back();
      if (event == Json::parse_event_t::object_end) names.pop_back();
      if (event == Json::parse_event_t::key) {
        const auto& name = value.get_ref<const std::string&>();
        require(names.back().insert(name).second, "the name '{}' is there twice", name);
      }
      return true;
    };
  }

  void read_metadata(const Json& value) {
    require(value.is_object(), "__metadata__ is no object");
    for (const auto& [key, text] : value.items()) {
      require(text.is_string(), "__metadata__ '{}' is no text", key);
      result_.metadata[key] = text.get<std::string>();
    }
  }

  Entry read_entry(const std::string& name, const Json& value) const {
    for (const auto* key : {"dtype", "shape", "data_offsets"}) {
      require(value.is_object() && value.contains(key), "tensor '{}' has no {}", name, key);
    }
    const auto offsets = integers(name, "data_offsets", value["data_offsets"]);
    require(offsets.size() == 2, "tensor '{}': {} data_offsets, there must be 2", name,
            offsets.size());
    return {name, dtype(name, value["dtype"]), integers(name, "shape", value["shape"]), offsets[0],
            offsets[1]};
  }

  at::ScalarType dtype(const std::string& name, const Json& value) const {
    for (const auto& known : kDtypes) {
      if (value == known.name) return known.type;
    }
    for (const auto& other : kOtherDtypes) {
      require_input(value != other, "{}: tensor '{}': dtype {} is not supported", path_.string(),
                    name, other);
    }
    require(false, "tensor '{}': unknown dtype {}", name, value.dump(-1, ' ', true));
    return at::kFloat;
  }

  std::vector<std::int64_t> integers(const std::string& name, const char* key,
                                     const Json& values) const {
    require(values.is_array(), "tensor '{}': {} is no list", name, key);
    require(values.size() <= kMostAxes, "tensor '{}': {} has {} numbers, at most {} are accepted",
            name, key, values.size(), kMostAxes);
    std::vector<std::int64_t> result;
    for (const auto& value : values) {
      const bool whole =
          value.is_number_unsigned() && value.get<std::uint64_t>() <= std::uint64_t{INT64_MAX};
      require(whole, "tensor '{}': {} in {} is no integer in [0, {}]", name, value.dump(), key,
              INT64_MAX);
      result.push_back(value.get<std::int64_t>());
    }
    return result;
  }

  // Bytes of a tensor by dtype and shape.
  std::int64_t byte_count(const Entry& entry) const {
    auto bytes = static_cast<std::int64_t>(c10::elementSize(entry.type));
    auto bound = bytes;  // strides of an empty tensor must not overflow either
    for (const auto length : entry.shape) {
      const auto at_least_one = std::max<std::int64_t>(length, 1);
      require(!__builtin_mul_overflow(bound, at_least_one, &bound),
              "tensor '{}': shape [{}] has too many elements", entry.name,
              fmt::join(entry.shape, ", "));
      bytes *= length;
    }
    return bytes;
  }

  // The tensors in the order of their offsets must tile the data exactly.
  void check_offsets(std::vector<Entry>& entries) const {
    std::stable_sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
      return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
    });
    std::int64_t expected = 0;
    for (const auto& entry : entries) {
      require(entry.begin <= entry.end, "tensor '{}': data_offsets [{}, {}] run backwards",
              entry.name, entry.begin, entry.end);
      const auto bytes = byte_count(entry);
      require(entry.end - entry.begin == bytes,
              "tensor '{}': data_offsets [{}, {}] hold {} bytes, dtype and shape need {}",
              entry.name, entry.begin, entry.end, entry.end - entry.begin, bytes);
      require(entry.begin == expected, "tensor '{}' starts at byte {} of the data, {}", entry.name,
              entry.begin,
              entry.begin < expected
                  ? fmt::format("inside the tensor before it, which ends at {}", expected)
                  : fmt::format("which leaves a gap from {}", expected));
      expected = entry.end;
    }
    const auto size = static_cast<std::int64_t>(data_.size());
    require(expected == size, "the tensors end at byte {} of the data, the file has {}", expected,
            size);
  }

  at::Tensor tensor(const Entry& entry) const {
    const auto* bytes = data_.data() + entry.begin;
    if (entry.begin == entry.end) return at::empty(entry.shape, entry.type);
    if (entry.type == at::kBool) check_bools(entry);
    const auto alignment = c10::elementSize(entry.type);
    // A packed file may put a tensor at any byte, and no kernel expects that: such a one is copied.
    if (reinterpret_cast<std::uintptr_t>(bytes) % alignment != 0) {
      auto copy = at::empty(entry.shape, entry.type);
      std::memcpy(copy.data_ptr(), bytes, copy.nbytes());
      return copy;
    }
    return at::from_blob(
        const_cast<std::byte*>(bytes), entry.shape, [mapping = file_.mapping](void*) {},
        at::TensorOptions().dtype(entry.type));
  }

  void check_bools(const Entry& entry) const {
    require(entry.end - entry.begin <= kMostBools, "tensor '{}': {} BOOLs, at most {} are accepted",
            entry.name, entry.end - entry.begin, kMostBools);
    for (auto i = entry.begin; i < entry.end; ++i) {
      const auto value = std::to_integer<int>(data_[static_cast<std::size_t>(i)]);
      require(value <= 1, "tensor '{}': a BOOL with value {}", entry.name, value);
    }
  }

  std::filesystem::path path_;
  MappedFile file_;
  std::span<const std::byte> data_;
  SafetensorsFile result_;
};

// The header's text, padded with spaces so that the data starts at a multiple of 8 bytes.
std::size_t bytes_of(const LateTensor& tensor) {
  std::size_t elements = 1;
  for (const auto extent : tensor.shape) elements *= static_cast<std::size_t>(extent);
  return elements * c10::elementSize(tensor.type);
}

std::string header_text(const std::vector<LateTensor>& tensors,
                        const std::map<std::string, std::string>& metadata) {
  Json json = Json::object();
  if (!metadata.empty()) json["__metadata__"] = metadata;
  std::size_t offset = 0;
  for (const auto& tensor : tensors) {
    check_equal(json.contains(tensor.name), false,
                "a tensor named '" + tensor.name + "' is there already");
    const auto end = offset + bytes_of(tensor);
    json[tensor.name] = {{"dtype", dtype_name(tensor.type)},
                         {"shape", tensor.shape},
                         {"data_offsets", {offset, end}}};
    offset = end;
  }
  auto text = json.dump();
  text.resize((text.size() + kPrefix - 1) / kPrefix * kPrefix, ' ');
  return text;
}

}  // namespace

const at::Tensor& SafetensorsFile::tensor(const std::string& name) const {
  const auto found =
      std::find_if(tensors.begin(), tensors.end(), [&](const auto& t) { return t.first == name; });
  require_input(found != tensors.end(), "{}: there is no tensor '{}'", path, name);
  return found->second;
}

SafetensorsFile read_safetensors(const std::filesystem::path& path) { return Reader(path).read(); }

void write_safetensors(const std::filesystem::path& path, const NamedTensors& tensors,
                       const std::map<std::string, std::string>& metadata) {
  std::vector<LateTensor> late;
  for (const auto& entry : tensors) {
    const auto& tensor = entry.second;
    late.push_back({entry.first, tensor.sizes().vec(), tensor.scalar_type(),
                    [&entry] { return entry.second; }});
  }
  write_safetensors(path, late, metadata);
}

void write_safetensors(const std::filesystem::path& path, const std::vector<LateTensor>& tensors,
                       const std::map<std::string, std::string>& metadata) {
  const auto header = header_text(tensors, metadata);
  const std::uint64_t length = header.size();
  std::size_t size = sizeof(length) + header.size();
  for (const auto& tensor : tensors) size += bytes_of(tensor);
  MappedWriter file(path, size);
  auto* place = file.bytes().data();
  const auto append = [&place](const void* data, std::size_t bytes) {
    if (bytes > 0) std::memcpy(place, data, bytes);
    place += bytes;
  };
  append(&length, sizeof(length));
  append(header.data(), header.size());
  for (const auto& tensor : tensors) {
    const auto data = tensor.make().detach().to(at::kCPU).contiguous();
    check_equal(data.nbytes(), bytes_of(tensor), "bytes of " + tensor.name);
    append(data.data_ptr(), data.nbytes());
    leave_pages({place - data.nbytes(), data.nbytes()});
  }
  file.commit();
}

}  // namespace blockwise
