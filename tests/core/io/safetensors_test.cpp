#include "core/io/safetensors.hpp"

#include <cstring>

#include "core/base/error.hpp"
#include "core/io/atomic_file.hpp"
#include "core/io/input_file.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/child_process.hpp"
#include "tests/support/temporary_folder.hpp"

using namespace blockwise;
using namespace blockwise::testing;
namespace fs = std::filesystem;

namespace {

std::string length_prefix(std::uint64_t length) {
  std::string bytes(8, '\0');
  std::memcpy(bytes.data(), &length, 8);
  return bytes;
}

// The error that a file with this header and so many bytes of data gives; empty when it is
// accepted.
std::string error_of(const std::string& header, std::size_t data_bytes = 8) {
  const TemporaryFolder folder;
  const auto path = folder / "x.safetensors";
  write_file_atomically(path,
                        length_prefix(header.size()) + header + std::string(data_bytes, '\1'));
  try {
    read_safetensors(path);
  } catch (const InputError& error) {
    CHECK_THAT(error.what(), Contains("x.safetensors: not a valid safetensors file: "));
    return error.what();
  }
  return "";
}

std::string entry(const std::string& dtype, const std::string& shape, const std::string& offsets) {
  return R"({"dtype":")" + dtype + R"(","shape":)" + shape + R"(,"data_offsets":)" + offsets + "}";
}

bool same_bytes(const at::Tensor& a, const at::Tensor& b) {
  return a.scalar_type() == b.scalar_type() && a.sizes() == b.sizes() && a.nbytes() == b.nbytes() &&
         (a.nbytes() == 0 || std::memcmp(a.data_ptr(), b.data_ptr(), a.nbytes()) == 0);
}

}  // namespace

TEST_CASE("safetensors: every dtype comes back bit by bit, in order") {
  const TemporaryFolder folder;
  NamedTensors tensors;
  auto generator = at::detail::createCPUGenerator(7);
  for (const auto type : {at::kDouble, at::kFloat, at::kHalf, at::kBFloat16, at::kLong, at::kInt,
                          at::kShort, at::kChar, at::kByte}) {
    auto bits = at::randint(0, 256, {24 * static_cast<std::int64_t>(c10::elementSize(type))},
                            generator, at::kByte);
    tensors.emplace_back(c10::toString(type), bits.view(type).reshape({2, 3, 4}));
  }
  tensors.emplace_back("bool", at::randint(0, 2, {5}, generator).to(at::kBool));
  tensors.emplace_back("after five bytes", at::arange(3, at::kDouble));
  tensors.emplace_back("scalar", at::scalar_tensor(1.5));
  tensors.emplace_back("empty", at::empty({0, 3}));
  tensors.emplace_back("transposed", at::arange(6).reshape({2, 3}).t());
  write_safetensors(folder / "a.safetensors", tensors, {{"key", "välue"}});

  const auto file = read_safetensors(folder / "a.safetensors");
  REQUIRE(file.tensors.size() == tensors.size());
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    INFO(tensors[i].first);
    CHECK(file.tensors[i].first == tensors[i].first);
    CHECK(same_bytes(file.tensors[i].second, tensors[i].second.contiguous()));
  }
  CHECK(file.metadata == std::map<std::string, std::string>{{"key", "välue"}});
  CHECK(file.tensor("scalar").item<float>() == 1.5f);
  CHECK_THROWS_WITH(file.tensor("none"), Contains("a.safetensors") && Contains("'none'"));
}

TEST_CASE("safetensors: tensors outlive the file object and the file's name") {
  const TemporaryFolder folder;
  at::Tensor kept;
  {
    write_safetensors(folder / "a.safetensors", {{"w", at::arange(1000)}});
    kept = read_safetensors(folder / "a.safetensors").tensor("w");
    fs::remove(folder / "a.safetensors");
  }
  CHECK(kept.sum().item<std::int64_t>() == 499500);
}

TEST_CASE("safetensors: the bytes of a small file are these") {
  const TemporaryFolder folder;
  const auto path = folder / "a.safetensors";
  write_safetensors(
      path,
      {{"b", at::tensor({1.0f, -2.0f}).reshape({1, 2})}, {"a", at::tensor({258, 3}, at::kShort)}},
      {{"k", "v"}});
  const std::string header =
      R"({"__metadata__":{"k":"v"},"b":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]},)"
      R"("a":{"dtype":"I16","shape":[2],"data_offsets":[8,12]}})";
  REQUIRE(header.size() == 135);
  const std::string data("\x00\x00\x80\x3f\x00\x00\x00\xc0\x02\x01\x03\x00", 12);
  CHECK(read_text_file(path) == length_prefix(136) + header + " " + data);
  CHECK(!fs::exists(folder / "a.safetensors.partial"));
}

TEST_CASE("safetensors: a dtype of the format that is not supported is called that") {
  const TemporaryFolder folder;
  for (const std::string dtype : {"F8_E4M3", "F8_E5M2", "U16", "U32", "U64", "C64", "F4"}) {
    const auto header = R"({"a":)" + entry(dtype, "[1]", "[0,8]") + "}";
    write_file_atomically(folder / "x", length_prefix(header.size()) + header + "12345678");
    CHECK_THROWS_WITH(read_safetensors(folder / "x"),
                      Contains("x: tensor 'a': dtype " + dtype + " is not supported") &&
                          !Contains("not a valid"));
  }
}

TEST_CASE("safetensors: a broken file is refused with the rule that it breaks") {
  const auto f32 = [](const std::string& offsets) { return entry("F32", "[2]", offsets); };
  SECTION("sound ones are not") {
    CHECK(error_of(R"({"a":)" + f32("[0,8]") + "}   ") == "");
    CHECK(error_of("{}", 0) == "");
  }
  SECTION("lengths") {
    const TemporaryFolder folder;
    const auto path = folder / "x.safetensors";
    write_file_atomically(path, "1234567");
    CHECK_THROWS_WITH(read_safetensors(path), Contains("7 bytes"));
    write_file_atomically(path, "");
    CHECK_THROWS_WITH(read_safetensors(path), Contains("0 bytes"));
    write_file_atomically(path, length_prefix(100'000'001) + "{}");
    CHECK_THROWS_WITH(read_safetensors(path),
                      Contains("a header of 100000001 bytes, at most 100000000"));
    write_file_atomically(path, length_prefix(3) + "{}");
    CHECK_THROWS_WITH(read_safetensors(path), Contains("a header of 3 bytes in a file of 10"));
    CHECK_THROWS_WITH(read_safetensors(folder / "none"), Contains("none: No such file"));
  }
  SECTION("JSON") {
    CHECK_THAT(error_of("{\"a\":"), Contains("no JSON"));
    CHECK_THAT(error_of("{\"a\":1e999}"), Contains("no JSON"));
    CHECK_THAT(error_of("[1]"), Contains("no JSON object"));
    CHECK_THAT(error_of(R"({"a":[[[[1]]]]})"), Contains("nested too deeply"));
    CHECK_THAT(error_of(R"({"a":)" + f32("[0,8]") + R"(,"a":)" + f32("[0,8]") + "}"),
               Contains("the name 'a' is there twice"));
    CHECK_THAT(error_of(R"({"a":{"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]}})"),
               Contains("the name 'dtype' is there twice"));
  }
  SECTION("entries") {
    CHECK_THAT(error_of(R"({"a":{"dtype":"F32","shape":[2]}})"),
               Contains("tensor 'a' has no data_offsets"));
    CHECK_THAT(error_of(R"({"a":5})"), Contains("tensor 'a' has no dtype"));
    CHECK_THAT(error_of(R"({"a":)" + entry("F31", "[2]", "[0,8]") + "}"),
               Contains("tensor 'a': unknown dtype \"F31\""));
    CHECK_THAT(error_of(R"({"__metadata__":[1]})"), Contains("__metadata__ is no object"));
    CHECK_THAT(error_of(R"({"__metadata__":{"k":1}})"), Contains("__metadata__ 'k' is no text"));
  }
  SECTION("shapes") {
    const auto shape_error = [](const std::string& shape) {
      return error_of(R"({"a":)" + entry("F32", shape, "[0,8]") + "}");
    };
    CHECK_THAT(shape_error("[-2]"), Contains("tensor 'a': -2 in shape"));
    CHECK_THAT(shape_error("[2.0]"), Contains("2.0 in shape"));
    CHECK_THAT(shape_error("[9223372036854775808]"), Contains("9223372036854775808 in shape"));
    CHECK_THAT(shape_error("2"), Contains("shape is no list"));
    CHECK_THAT(shape_error("[4294967296, 4294967296]"),
               Contains("shape [4294967296, 4294967296] has too many elements"));
    CHECK_THAT(shape_error("[0, 4294967296, 4294967296]"), Contains("too many elements"));
    CHECK_THAT(shape_error("[3]"), Contains("hold 8 bytes, dtype and shape need 12"));
  }
  SECTION("offsets") {
    CHECK_THAT(error_of(R"({"a":)" + f32("[8,0]") + "}"), Contains("[8, 0] run backwards"));
    CHECK_THAT(error_of(R"({"a":)" + f32("[0,8,9]") + "}"), Contains("3 data_offsets"));
    CHECK_THAT(error_of(R"({"a":)" + f32("[-1,7]") + "}"), Contains("-1 in data_offsets"));
    CHECK_THAT(error_of(R"({"a":)" + f32("[0,8]") + R"(,"b":)" + f32("[4,12]") + "}", 12),
               Contains("tensor 'b' starts at byte 4 of the data, inside the tensor before it, "
                        "which ends at 8"));
    CHECK_THAT(error_of(R"({"a":)" + f32("[0,8]") + R"(,"b":)" + f32("[12,20]") + "}", 20),
               Contains("tensor 'b' starts at byte 12 of the data, which leaves a gap from 8"));
    CHECK_THAT(error_of(R"({"a":)" + f32("[0,8]") + "}", 9),
               Contains("the tensors end at byte 8 of the data, the file has 9"));
    CHECK_THAT(error_of(R"({"a":)" + f32("[0,8]") + "}", 7),
               Contains("the tensors end at byte 8 of the data, the file has 7"));
  }
  SECTION("values") {
    const TemporaryFolder folder;
    const auto header = R"({"a":)" + entry("BOOL", "[2]", "[0,2]") + "}";
    write_file_atomically(folder / "x", length_prefix(header.size()) + header + "\x01\x02");
    CHECK_THROWS_WITH(read_safetensors(folder / "x"), Contains("tensor 'a': a BOOL with value 2"));
  }
}

TEST_CASE("safetensors: a full disk leaves the file that was there") {
  const TemporaryFolder folder;
  const auto path = folder / "a.safetensors";
  write_safetensors(path, {{"w", at::ones({4})}});
  const auto before = read_text_file(path);
  ChildProcess child([&](const auto&) {
    limit_file_size(1000);
    write_safetensors(path, {{"w", at::ones({1000})}});
  });
  const auto result = child.wait();
  CHECK(result.exit_code == 1);
  CHECK_THAT(result.text, Contains("a.safetensors: cannot be written: File too large"));
  CHECK(read_text_file(path) == before);
  CHECK(!fs::exists(folder / "a.safetensors.partial"));
}

TEST_CASE("safetensors: what cannot be written is a defect of ours") {
  const TemporaryFolder folder;
  CHECK_THROWS_AS(write_safetensors(folder / "a", {{"w", at::ones({1})}, {"w", at::ones({1})}}),
                  InvariantError);
  CHECK_THROWS_AS(write_safetensors(folder / "a", {{"w", at::ones({1}, at::kComplexFloat)}}),
                  InvariantError);
  CHECK(!fs::exists(folder / "a"));
}
