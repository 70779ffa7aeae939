#include "diffusion/models/unet_config.h"

#include <doctest/doctest.h>

#include <functional>

#include "tensor/error.h"

using namespace ito;

namespace {

std::string message_of(const std::function<void()>& f) {
  try {
    f();
  } catch (const Error& e) {
    return e.what();
  }
  return "no error";
}

std::string complaint(const std::function<void(UNetConfig&)>& change) {
  UNetConfig c = UNetConfig::mnist();
  change(c);
  return message_of([&] { c.validate(); });
}

}  // namespace

TEST_CASE("unet config: the presets are valid") {
  CHECK_NOTHROW(UNetConfig::mnist().validate());
  CHECK_NOTHROW(UNetConfig::cifar10().validate());
  CHECK(UNetConfig::cifar10().has_attention(1));
  CHECK_FALSE(UNetConfig::cifar10().has_attention(0));
  CHECK(UNetConfig::cifar10().resolution(3) == 4);
  CHECK(UNetConfig::cifar10().channels(3) == 256);
}

TEST_CASE("unet config: an error names the field, its value and a value that would do") {
  CHECK(complaint([](auto& c) { c.norm_groups = 24; }) ==
        "unet: norm_groups must divide the channels of every level; got norm_groups = 24, 32 "
        "channels; "
        "use norm_groups = 8, or base_channels = 48");
  CHECK(
      complaint([](auto& c) { c.image_size = 30; }) ==
      "unet: image_size must be a multiple of 2^(levels - 1) = 4 for 3 levels; got 30; use 32, or "
      "fewer channel_multipliers");
  CHECK(complaint([](auto& c) { c.attention_resolutions = {16}; }) ==
        "unet: attention_resolutions must be sizes of levels; got 16; the levels have 28, 14, 7");
  CHECK(
      complaint([](auto& c) { c.heads = 3; }) ==
      "unet: heads must divide the channels where there is attention; got heads = 3, 64 channels; "
      "use heads = 1");
  CHECK(
      complaint([](auto& c) { c.head_channels = 48; }) ==
      "unet: head_channels must divide the channels where there is attention; got head_channels = "
      "48, 64 channels; use head_channels = 16");
  CHECK(complaint([](auto& c) { c.base_channels = 33; }) ==
        "unet: base_channels must be even (sines and cosines of t); got 33; use 34");
  CHECK(complaint([](auto& c) { c.dropout = 1.0; }) ==
        "unet: dropout must be in [0, 1); got 1; use 0 for none");
  CHECK(complaint([](auto& c) { c.norm_eps = 0.0; }) ==
        "unet: norm_eps must be positive; got 0; use 1e-6");
  CHECK(complaint([](auto& c) { c.channel_multipliers = {}; }) ==
        "unet: number of channel_multipliers must be in [1, 14]; got 0");
  CHECK(complaint([](auto& c) {
          c.channel_multipliers = {1, 0};
        }) == "unet: each channel multiplier must be in [1, 256]; got 0");
  CHECK(complaint([](auto& c) { c.in_channels = 0; }) ==
        "unet: in_channels must be in [1, 65536]; got 0");
  CHECK(complaint([](auto& c) { c.blocks_per_level = 0; }) ==
        "unet: blocks_per_level must be in [1, 256]; got 0");
}

TEST_CASE("unet config: JSON keeps every field") {
  UNetConfig c;
  c.image_size = 24;
  c.in_channels = 3;
  c.out_channels = 6;
  c.base_channels = 40;
  c.channel_multipliers = {1, 3};
  c.blocks_per_level = 1;
  c.attention_resolutions = {24, 12};
  c.heads = 4;
  c.dropout = 0.1;
  c.norm_groups = 20;
  c.norm_eps = 1e-5;
  c.num_classes = 10;
  c.conditioning = EmbeddingMode::adagn;
  c.time_features = TimeFeatures::fourier;
  c.fourier_features = {7, 8};
  c.head_channels = 5;
  c.symmetric_padding = true;
  CHECK(UNetConfig::from_json(c.to_json()) == c);
  CHECK(UNetConfig::mnist().to_json() ==
        R"({"image_size":28,"in_channels":1,"out_channels":1,"base_channels":32,)"
        R"("channel_multipliers":[1,2,2],"blocks_per_level":2,"attention_resolutions":[14],)"
        R"("heads":1,"dropout":0.0,"norm_groups":32,"norm_eps":1e-06,"num_classes":0,)"
        R"("conditioning":"add","time_features":"sin_cos","fine_details":[],)"
        R"("head_channels":0,"symmetric_padding":false})");
}

TEST_CASE(
    "unet config: JSON of older versions lacks newer fields, which then have their defaults") {
  UNetConfig c = UNetConfig::mnist();
  c.num_classes = 10;
  c.conditioning = EmbeddingMode::adagn;
  c.time_features = TimeFeatures::cos_sin;
  c.fourier_features = {7};
  std::string text = c.to_json();
  text = text.substr(0, text.find(",\"num_classes\":10")) + "}";
  CHECK(UNetConfig::from_json(text) == UNetConfig::mnist());
}

TEST_CASE("unet config: JSON that is not a configuration is refused") {
  const auto refusal = [](const std::string& from, const std::string& to) {
    std::string text = UNetConfig::mnist().to_json();
    text.replace(text.find(from), from.size(), to);
    return message_of([&] { UNetConfig::from_json(text); });
  };
  CHECK(message_of([] { UNetConfig::from_json("{"); }) == "unet config: must be a JSON object");
  CHECK(message_of([] { UNetConfig::from_json("[1]"); }) == "unet config: must be a JSON object");
  CHECK(refusal("\"heads\":1,", "") == "unet config: heads is missing");
  CHECK(refusal("\"heads\":1", "\"heads\":1.5") ==
        "unet config: heads must be an integer; got 1.5");
  CHECK(refusal("\"heads\":1", "\"heads\":18446744073709551615") ==
        "unet config: heads must be an integer; got 18446744073709551615");
  CHECK(refusal("\"dropout\":0.0", "\"dropout\":\"none\"") ==
        "unet config: dropout must be a number; got \"none\"");
  CHECK(refusal("[14]", "14") ==
        "unet config: attention_resolutions must be a list of integers; got 14");
  CHECK(refusal("\"heads\":1", "\"heads\":1,\"head_count\":2")
            .starts_with("unet config: unknown key \"head_count\"; known are image_size, "));
  CHECK(refusal("\"add\"", "\"film\"") ==
        "unet config: conditioning must be one of add, adagn; got \"film\"");
  CHECK(refusal("\"sin_cos\"", "3") ==
        "unet config: time_features must be one of sin_cos, cos_sin, fourier; got 3");
  CHECK(refusal("\"heads\":1", "\"heads\":5").starts_with("unet: heads must divide"));
}
