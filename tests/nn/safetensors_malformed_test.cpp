// Files that are not what they should be. Each is refused with a message that names the file, the
// place, what was expected and what was there.
#include <doctest/doctest.h>

#include <cstring>

#include "nn/safetensors.h"
#include "tensor/memory.h"
#include "tests/nn/temp_directory.h"

using namespace ito;

namespace {

std::string with_length(std::uint64_t length, const std::string& rest) {
  std::string bytes(8, '\0');
  std::memcpy(bytes.data(), &length, 8);
  return bytes + rest;
}

std::string file_of(const std::string& json, std::size_t data_bytes) {
  return with_length(json.size(), json + std::string(data_bytes, '\x01'));
}

// A header with one tensor of these fields.
std::string one(const std::string& fields, std::size_t data_bytes = 4) {
  return file_of("{\"t\":{" + fields + "}}", data_bytes);
}

std::string message_of(const std::string& bytes) {
  try {
    nn::parse_safetensors(std::as_bytes(std::span(bytes.data(), bytes.size())), "f");
  } catch (const FormatError& e) {
    return e.what();
  }
  return "accepted";
}

const char* const good = R"("dtype":"F32","shape":[1],"data_offsets":[0,4])";

}  // namespace

TEST_CASE("safetensors: the file that the malformed ones are made from is accepted") {
  CHECK(message_of(one(good)) == "accepted");
  CHECK(message_of(file_of("{}", 0)) == "accepted");
}

TEST_CASE("safetensors: a wrong beginning is refused") {
  CHECK(message_of("") == "f: expected at least 8 bytes; got 0");
  CHECK(message_of("1234567") == "f: expected at least 8 bytes; got 7");
  CHECK(message_of(with_length(2, "")) ==
        "f: offset 0: expected a header of 2 bytes; got 0 in the file");
  CHECK(message_of(with_length(17u << 20, "{}")) ==
        "f: offset 0: expected a header of at most 16777216 bytes; got 17825792 (not a safetensors "
        "file?)");
  CHECK(message_of(with_length(UINT64_MAX, "{}")) ==
        "f: offset 0: expected a header of at most 16777216 bytes; got 18446744073709551615 (not a "
        "safetensors file?)");
  CHECK(message_of("<!DOCTYPE html><html>").find("not a safetensors file?") != std::string::npos);
  CHECK(message_of(with_length(0, "")) == "f: offset 8: expected '{'; got ''");
  CHECK(message_of(file_of(" {}", 0)) == "f: offset 8: expected '{'; got ' '");
  CHECK(message_of(file_of("[]", 0)) == "f: offset 8: expected '{'; got '['");
  CHECK(message_of(file_of("\xef\xbb\xbf{}", 0)) == "f: offset 8: expected '{'; got '\xef'");
}

TEST_CASE("safetensors: a header that is not JSON is refused with its offset") {
  CHECK(message_of(file_of("{", 0)) == "f: offset 10: the header is not valid JSON");
  CHECK(message_of(file_of("{}x", 0)) == "f: offset 11: the header is not valid JSON");
  CHECK(message_of(file_of("{\"a\xff\":{}}", 0)) == "f: offset 12: the header is not valid JSON");
  CHECK(message_of(file_of("{'a':{}}", 0)) == "f: offset 10: the header is not valid JSON");
  CHECK(message_of(file_of(std::string("{}\0\0", 4), 0)) ==
        "f: offset 10: the header is not valid JSON");
  CHECK(message_of(file_of("{\"a\":{},}", 0)).starts_with("f: "));
}

TEST_CASE("safetensors: wrong keys and names are refused") {
  const std::string t = std::string("{") + good + "}";
  CHECK(message_of(file_of("{\"t\":" + t + ",\"t\":" + t + "}", 4)) ==
        "f: header: key 't' comes twice");
  CHECK(message_of(file_of("{\"__metadata__\":{},\"__metadata__\":{}}", 0)) ==
        "f: header: key '__metadata__' comes twice");
  CHECK(message_of(file_of("{\"__metadata__\":{\"a\":\"b\",\"a\":\"c\"}}", 0)) ==
        "f: header: '__metadata__': key 'a' comes twice");
  CHECK(message_of(one(std::string(good) + ",\"dtype\":\"F64\"")) ==
        "f: header: 't': key 'dtype' comes twice");
  CHECK(message_of(one(std::string(good) + ",\"strides\":[1]")) ==
        "f: header: tensor 't': unknown key 'strides'");
  CHECK(message_of(file_of("{\"a\\u0000b\":" + t + "}", 4)) ==
        "f: header: a name has no control characters; got 'a?b'");
  CHECK(message_of(file_of("{\"" + std::string(513, 'n') + "\":" + t + "}", 4)) ==
        "f: header: a name has at most 512 bytes; got 513");
}

TEST_CASE("safetensors: more tensors than the limit are refused") {
  std::string json = "{";
  for (int i = 0; i < 65540; ++i) {
    json += fmt::format("\"{}\":{{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}},", i);
  }
  json.back() = '}';
  CHECK(message_of(file_of(json, 0)) == "f: header: more than 65536 tensors");
}

TEST_CASE("safetensors: fields that are missing or of another type are refused") {
  CHECK(message_of(one(R"("shape":[1],"data_offsets":[0,4])")) ==
        "f: header: tensor 't': no dtype");
  CHECK(message_of(one(R"("dtype":"F32","data_offsets":[0,4])")) ==
        "f: header: tensor 't': no shape");
  CHECK(message_of(one(R"("dtype":"F32","shape":[1])")) ==
        "f: header: tensor 't': no data_offsets");
  CHECK(message_of(one(R"("dtype":"I16","shape":[1],"data_offsets":[0,2])", 2)) ==
        "f: header: tensor 't': expected dtype F32, F64, BF16, F16, I64 or U8; got 'I16'");
  CHECK(message_of(one(R"("dtype":1,"shape":[1],"data_offsets":[0,4])")) ==
        "f: header: tensor 't': wrong value for 'dtype'; got 1");
  CHECK(message_of(one(R"("dtype":"F32","shape":"1","data_offsets":[0,4])")) ==
        "f: header: tensor 't': wrong value for 'shape'; got a string");
  CHECK(message_of(one(R"("dtype":"F32","shape":[1.0],"data_offsets":[0,4])")) ==
        "f: header: tensor 't': sizes are whole numbers >= 0; got '1.0'");
  CHECK(message_of(one(R"("dtype":"F32","shape":[-1],"data_offsets":[0,4])")) ==
        "f: header: tensor 't': sizes are whole numbers >= 0; got -1");
  CHECK(message_of(one(R"("dtype":"F32","shape":[[1]],"data_offsets":[0,4])")) ==
        "f: header: tensor 't': sizes are whole numbers >= 0; got an array");
  CHECK(message_of(one(R"("dtype":"F32","shape":null,"data_offsets":[0,4])")) ==
        "f: header: tensor 't': wrong value for 'shape'; got null");
  CHECK(message_of(one(R"("dtype":"F32","shape":[true],"data_offsets":[0,4])")) ==
        "f: header: tensor 't': sizes are whole numbers >= 0; got a boolean");
  CHECK(message_of(file_of("{\"t\":1}", 0)) == "f: header: 't': expected an object; got 1");
  CHECK(message_of(file_of("{\"__metadata__\":{\"a\":1}}", 0)) ==
        "f: header: __metadata__: values are strings; got 1");
  CHECK(message_of(file_of("{\"__metadata__\":{\"a\":{}}}", 0)) ==
        "f: header: __metadata__: values are strings; got an object");
}

TEST_CASE("safetensors: shapes and offsets that do not fit together are refused") {
  CHECK(message_of(one(R"("dtype":"F32","shape":[1,1,1,1,1,1,1,1,1],"data_offsets":[0,4])")) ==
        "f: header: tensor 't': a shape has at most 8 sizes");
  CHECK(message_of(one(R"("dtype":"F32","shape":[9223372036854775808],"data_offsets":[0,4])")) ==
        "f: header: tensor 't': a size is below 2^63; got 9223372036854775808");
  CHECK(message_of(one(R"("dtype":"F32","shape":[99999999999999999999],"data_offsets":[0,4])")) ==
        "f: header: tensor 't': sizes are whole numbers >= 0; got '99999999999999999999'");
  // 2^62 elements of four bytes wrap to 0; so does a product beside an empty axis.
  CHECK(message_of(one(R"("dtype":"F32","shape":[4611686018427387904],"data_offsets":[0,0])", 0)) ==
        "f: header: tensor 't': the product of its sizes exceeds 2^63");
  CHECK(message_of(one(R"("dtype":"F32","shape":[0,4294967296,4294967296],"data_offsets":[0,0])",
                       0)) == "f: header: tensor 't': the product of its sizes exceeds 2^63");
  CHECK(message_of(one(R"("dtype":"F32","shape":[2],"data_offsets":[0,4])")) ==
        "f: header: tensor 't': f32[2] has 8 bytes; got data_offsets of 4");
  CHECK(message_of(one(R"("dtype":"F32","shape":[1],"data_offsets":[4,0])")) ==
        "f: header: tensor 't': data_offsets end before they begin; got [4, 0]");
  CHECK(message_of(one(R"("dtype":"F32","shape":[1],"data_offsets":[0])")) ==
        "f: header: tensor 't': data_offsets are two numbers");
  CHECK(message_of(one(R"("dtype":"F32","shape":[1],"data_offsets":[0,4,4])")) ==
        "f: header: tensor 't': data_offsets are two numbers");
  CHECK(message_of(one(R"("dtype":"F32","shape":[1],"data_offsets":[-4,0])")) ==
        "f: header: tensor 't': data_offsets are whole numbers >= 0; got -4");
}

TEST_CASE("safetensors: holes, overlaps, truncation and trailing bytes are refused") {
  const auto two = [](int begin) {
    return fmt::format(R"({{"a":{{"dtype":"F32","shape":[2],"data_offsets":[0,8]}},)"
                       R"("b":{{"dtype":"F32","shape":[2],"data_offsets":[{},{}]}}}})",
                       begin, begin + 8);
  };
  CHECK(message_of(file_of(two(8), 16)) == "accepted");
  CHECK(message_of(file_of(two(9), 17)) ==
        "f: header: tensor 'b': expected to begin at byte 8; got 9 (a hole)");
  CHECK(message_of(file_of(two(4), 12)) ==
        "f: header: tensor 'b': expected to begin at byte 8; got 4 (an overlap)");
  CHECK(message_of(file_of(two(0), 8)) ==
        "f: header: tensor 'b': expected to begin at byte 8; got 0 (an overlap)");
  CHECK(message_of(file_of(two(8), 15)) ==
        "f: expected 16 bytes of tensors by the header; got 15 in the file");
  CHECK(message_of(file_of(two(8), 17)) ==
        "f: expected 16 bytes of tensors by the header; got 17 in the file");
  CHECK(message_of(one(R"("dtype":"F32","shape":[1],"data_offsets":[4,8])", 8)) ==
        "f: header: tensor 't': expected to begin at byte 0; got 4 (a hole)");
  CHECK(
      message_of(one(R"("dtype":"U8","shape":[1000000000000],"data_offsets":[0,1000000000000])")) ==
      "f: expected 1000000000000 bytes of tensors by the header; got 4 in the file");
}

TEST_CASE("safetensors: a header that promises a terabyte asks for no memory") {
  const test::TempDirectory dir;
  test::write_file(dir / "bomb",
                   one(R"("dtype":"F64","shape":[137438953472],"data_offsets":[0,1099511627776])"));
  memory::reset_peak();
  const std::size_t before = memory::usage().peak;
  CHECK_THROWS_AS(nn::load_safetensors(dir / "bomb"), FormatError);
  CHECK(memory::usage().peak == before);
}

TEST_CASE("safetensors: deeply nested JSON is refused at its first level") {
  CHECK(message_of(file_of("{\"a\":" + std::string(1 << 20, '['), 0)) ==
        "f: header: 'a': expected an object; got an array");
  std::string nested;
  for (int i = 0; i < 100000; ++i) nested += "{\"a\":";
  CHECK(message_of(file_of(nested, 0)) == "f: header: tensor 'a': unknown key 'a'");
}

TEST_CASE("safetensors: every truncation of a valid file is refused") {
  const test::TempDirectory dir;
  nn::save_safetensors(dir / "x",
                       {{"a", Tensor::zeros({3})}, {"b", Tensor::zeros({2}, DType::u8)}});
  const std::string whole = test::read_file(dir / "x");
  REQUIRE(message_of(whole) == "accepted");
  for (std::size_t n = 0; n < whole.size(); ++n) {
    CHECK(message_of(whole.substr(0, n)).starts_with("f: "));
  }
}
