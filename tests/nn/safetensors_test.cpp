#include "nn/safetensors.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "nn/files.h"
#include "tests/nn/temp_directory.h"
#include "tests/nn/tiny_model.h"

using namespace ito;

namespace {

std::string bytes_of(const Tensor& t) {
  return std::string(static_cast<const char*>(t.raw()), t.bytes());
}

std::vector<nn::NamedTensor> every_dtype() {
  return {
      {"u8", Tensor::from<std::uint8_t>({0, 128, 255}, {3})},
      {"bf16", Tensor::from<bf16>({bf16(1.5f), bf16(-INFINITY)}, {1, 2})},
      {"scalar", Tensor::from<double>({3.25}, {})},
      {"labels", Tensor::from<std::int64_t>({INT64_MIN, -1, INT64_MAX}, {3})},
      {"f32", Tensor::from<float>({0.1f, -0.0f, NAN, INFINITY, 1e-45f, 3e38f}, {2, 3})},
      {"empty", Tensor::empty({4, 0, 2})},
      {"a name with \"quotes\", ümlaut and \\", Tensor::from<float>({7}, {1, 1, 1, 1, 1, 1, 1})},
  };
}

}  // namespace

TEST_CASE("safetensors: every dtype, rank 0 to 8 and empty tensors come back bit for bit") {
  const test::TempDirectory dir;
  const auto tensors = every_dtype();
  const nn::Metadata metadata{{"config", "{\"a\": 1}\n"}, {"format", "ito"}};
  nn::save_safetensors(dir / "x.safetensors", tensors, metadata);
  const auto file = nn::load_safetensors(dir / "x.safetensors");
  CHECK(file.metadata == metadata);
  REQUIRE(file.tensors.size() == tensors.size());
  for (const auto& [name, t] : tensors) {
    const Tensor& read = file.at(name);
    CHECK(read.shape() == t.shape());
    CHECK(read.dtype() == t.dtype());
    CHECK(bytes_of(read) == bytes_of(t));
  }
  CHECK_FALSE(file.contains("other"));
  CHECK_THROWS_WITH_AS(file.at("other"),
                       ((dir / "x.safetensors").string() + ": no tensor named other").c_str(),
                       FormatError);
}

TEST_CASE("safetensors: no tensors at all are a file too") {
  const test::TempDirectory dir;
  nn::save_safetensors(dir / "x", {});
  CHECK(test::read_file(dir / "x") == std::string("\x08\0\0\0\0\0\0\0{}      ", 16));
  CHECK(nn::load_safetensors(dir / "x").tensors.empty());
}

TEST_CASE("safetensors: the bytes are pinned") {
  const test::TempDirectory dir;
  nn::save_safetensors(dir / "x",
                       {{"b", Tensor::from<float>({1}, {1})},
                        {"z", Tensor::from<std::int64_t>({2}, {})},
                        {"u", Tensor::from<std::uint8_t>({9}, {1, 1})},
                        {"a", Tensor::from<float>({3}, {1})}},
                       {{"k", "v"}});
  const std::string json =
      R"({"__metadata__":{"k":"v"},"z":{"dtype":"I64","shape":[],"data_offsets":[0,8]},)"
      R"("a":{"dtype":"F32","shape":[1],"data_offsets":[8,12]},)"
      R"("b":{"dtype":"F32","shape":[1],"data_offsets":[12,16]},)"
      R"("u":{"dtype":"U8","shape":[1,1],"data_offsets":[16,17]}})";
  const std::size_t padded = (json.size() + 7) / 8 * 8;
  std::string expected{static_cast<char>(padded & 0xff), static_cast<char>(padded >> 8)};
  expected.append(6, '\0').append(json).append(padded - json.size(), ' ');
  expected.append("\2\0\0\0\0\0\0\0", 8).append("\0\0\x40\x40\0\0\x80\x3f\x09", 9);
  CHECK(test::read_file(dir / "x") == expected);
}

TEST_CASE("safetensors: the bytes do not depend on the order of the list") {
  const test::TempDirectory dir;
  auto tensors = every_dtype();
  nn::save_safetensors(dir / "a", tensors, {{"k", "v"}, {"a", "b"}});
  std::reverse(tensors.begin(), tensors.end());
  nn::save_safetensors(dir / "b", tensors, {{"a", "b"}, {"k", "v"}});
  CHECK(test::read_file(dir / "a") == test::read_file(dir / "b"));
  const auto again = nn::load_safetensors(dir / "a");
  nn::save_safetensors(dir / "c", again.tensors, again.metadata);
  CHECK(test::read_file(dir / "a") == test::read_file(dir / "c"));
}

TEST_CASE("safetensors: a file that numpy wrote, with another layout of the header") {
  const auto file = nn::load_safetensors(ITO_FIXTURES "/foreign.safetensors");
  CHECK(file.tensors.size() == 6);
  CHECK(file.metadata == nn::Metadata{{"format", "np"}, {"note", "a \"quoted\" line\n"}});
  CHECK(file.at("weight").shape() == Shape{2, 3});
  CHECK(file.at("weight").to_vector<float>() ==
        std::vector<float>{-0.5f, -0.25f, 0.0f, 0.25f, 0.5f, 0.75f});
  CHECK(file.at("größe/π").item() == 3.141592653589793);
  CHECK(file.at("größe/π").rank() == 0);
  CHECK(file.at("labels").to_vector<std::int64_t>() ==
        std::vector<std::int64_t>{-1, std::int64_t{1} << 62, 7});
  CHECK(file.at("u8").to_vector<std::uint8_t>() == std::vector<std::uint8_t>{0, 50, 100, 150, 200});
  CHECK(file.at("half").to_vector<bf16>() ==
        std::vector<bf16>{bf16(1.0f), bf16(-2.0f), bf16(INFINITY)});
  CHECK(file.at("empty").shape() == Shape{3, 0, 2});
}

TEST_CASE("safetensors: the header alone lists what is inside") {
  const auto header = nn::load_safetensors_header(ITO_FIXTURES "/foreign.safetensors");
  REQUIRE(header.tensors.size() == 6);
  CHECK(header.tensors[1].name == "weight");
  CHECK(header.tensors[1].dtype == DType::f32);
  CHECK(header.tensors[1].shape == Shape{2, 3});
  CHECK(header.tensors[1].begin == 5);
  CHECK(header.tensors[1].end == 29);
  CHECK(header.metadata.at("format") == "np");
}

TEST_CASE("save_safetensors: replaces a file and leaves nothing beside it") {
  const test::TempDirectory dir;
  test::write_file(dir / "x", "old");
  nn::save_safetensors(dir / "x", {{"a", Tensor::zeros({2})}});
  CHECK(nn::load_safetensors(dir / "x").contains("a"));
  CHECK(std::distance(std::filesystem::directory_iterator(dir.path()), {}) == 1);
}

TEST_CASE("save_safetensors: names that a reader would refuse are refused") {
  const test::TempDirectory dir;
  const Tensor t = Tensor::zeros({1});
  const auto save = [&](const std::string& name) {
    nn::save_safetensors(dir / "x", {{"a", t}, {name, t}});
  };
  CHECK_THROWS_WITH_AS(save("a"), "save_safetensors: the name 'a' is taken", ValueError);
  CHECK_THROWS_WITH_AS(save("__metadata__"), "save_safetensors: the name '__metadata__' is taken",
                       ValueError);
  CHECK_THROWS_WITH_AS(save("a\nb"),
                       "save_safetensors: a name has no control characters; got 'a?b'", ValueError);
  CHECK_THROWS_WITH_AS(save(std::string(513, 'x')),
                       "save_safetensors: a name has at most 512 bytes; got 513", ValueError);
  CHECK_THROWS_WITH_AS(save("\xff\xfe"), "save_safetensors: names and metadata must be UTF-8",
                       ValueError);
  CHECK_THROWS_AS(nn::save_safetensors(dir / "x", {{"a", Tensor()}}), ValueError);
  CHECK_FALSE(std::filesystem::exists(dir / "x"));
}

TEST_CASE("safetensors: what the system refuses is an IoError with the path and the reason") {
  const test::TempDirectory dir;
  CHECK_THROWS_WITH_AS(
      nn::load_safetensors(dir / "none"),
      ((dir / "none").string() + ": cannot open: No such file or directory").c_str(), IoError);
  CHECK_THROWS_WITH_AS(nn::load_safetensors(dir.path()),
                       (dir.path().string() + ": cannot read: not a regular file").c_str(),
                       IoError);
  CHECK_THROWS_AS(nn::save_safetensors(dir / "no/such/place", {}), IoError);
}

TEST_CASE("assign_parameters: loads a model by name") {
  const test::TempDirectory dir;
  auto saved = test::make_tiny_model(1), model = test::make_tiny_model(2);
  nn::save_safetensors(dir / "m", nn::named_parameters(saved));
  nn::assign_parameters(nn::named_parameters(model), nn::load_safetensors(dir / "m"));
  const auto a = nn::named_parameters(saved), b = nn::named_parameters(model);
  for (std::size_t i = 0; i < a.size(); ++i) CHECK(bytes_of(a[i].second) == bytes_of(b[i].second));
}

TEST_CASE("assign_parameters: lists what is missing, misshapen and unknown, and changes nothing") {
  const nn::SafeTensors file{"file",
                             {{"a", Tensor::full({2}, 1.0)},
                              {"b", Tensor::zeros({3})},
                              {"c", Tensor::zeros({1}, DType::f64)},
                              {"extra", Tensor::zeros({1})}},
                             {}};
  const Tensor a = Tensor::zeros({2});
  const std::vector<nn::NamedTensor> parameters{
      {"a", a}, {"b", Tensor::zeros({2})}, {"c", Tensor::zeros({1})}, {"d", Tensor::zeros({4})}};
  CHECK_THROWS_WITH_AS(nn::assign_parameters(parameters, file),
                       "file: does not fit the model; differences: 4\n"
                       "  b: expected f32[2]; got f32[3]\n"
                       "  c: expected f32[1]; got f64[1]\n"
                       "  d: missing in the file; expected f32[4]\n"
                       "  extra: not in the model; got f32[1]",
                       FormatError);
  CHECK(a.to_vector<float>() == std::vector<float>{0, 0});
}

TEST_CASE("assign_parameters: at most ten differences are printed") {
  std::vector<nn::NamedTensor> parameters;
  for (int i = 0; i < 25; ++i) parameters.emplace_back(fmt::format("p{}", i), Tensor::zeros({1}));
  try {
    nn::assign_parameters(parameters, {"file", {}, {}});
    FAIL("expected an error");
  } catch (const FormatError& e) {
    const std::string text = e.what();
    CHECK(std::count(text.begin(), text.end(), '\n') == 11);
    CHECK(text.ends_with("\n  and 15 more"));
  }
}

TEST_CASE("assign_parameters: a prefix picks a part of the file") {
  const nn::SafeTensors file{
      "file", {{"ema/a", Tensor::full({1}, 2.0)}, {"raw/a", Tensor::full({1}, 3.0)}}, {}};
  const Tensor a = Tensor::zeros({1});
  nn::assign_parameters({{"a", a}}, file, "raw/");
  CHECK(a.item() == 3.0);
}

TEST_CASE("safetensors: F16 is read as f32") {
  // Bits and values as numpy 2.4.6 has them: np.array([...], np.uint16).view(np.float16).
  const std::uint16_t bits[] = {0x3c00, 0xc000, 0x3555, 0x7bff, 0x0400, 0x0001, 0x83ff, 0x8000};
  const std::vector<float> values = {1.0F,
                                     -2.0F,
                                     0.333251953125F,
                                     65504.0F,
                                     6.103515625e-05F,
                                     5.960464477539063e-08F,
                                     -6.097555160522461e-05F,
                                     -0.0F};
  std::string json = R"({"t":{"dtype":"F16","shape":[8],"data_offsets":[0,16]}})";
  const std::uint64_t length = json.size();
  std::vector<std::byte> bytes(8 + json.size() + sizeof(bits));
  std::memcpy(bytes.data(), &length, 8);
  std::memcpy(bytes.data() + 8, json.data(), json.size());
  std::memcpy(bytes.data() + 8 + json.size(), bits, sizeof(bits));
  const Tensor t = nn::parse_safetensors(bytes, "f").at("t");
  CHECK(t.dtype() == DType::f32);
  CHECK(t.to_vector<float>() == values);
}
