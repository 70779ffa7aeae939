#include "diffusion/models/mlp.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "autograd/ops/elementwise.h"
#include "autograd/ops/layout.h"
#include "diffusion/models/time_embedding.h"
#include "tensor/check.h"

namespace ito {
namespace {

using Json = nlohmann::ordered_json;

// Calls f(key, field, low, high) for every field: the one list that reading, writing and checking
// share.
template <class Config, class F>
void for_each_field(Config& c, const F& f) {
  f("dimensions", c.dimensions, 1, 65536);
  f("width", c.width, 1, 65536);
  f("layers", c.layers, 0, 1024);
  f("octaves", c.octaves, 0, 16);
  f("time_features", c.time_features, 4, 65536);
  f("outputs", c.outputs, 0, 65536);
}

// sin(f x) and cos(f x) at frequencies from `low` to `high`, in equal ratios: [N, 2 count d].
std::vector<Tensor> waves(const Tensor& x, std::int64_t count, double low, double high) {
  std::vector<Tensor> parts;
  for (std::int64_t i = 0; i < count; ++i) {
    const double place = count == 1 ? 0.0 : static_cast<double>(i) / static_cast<double>(count - 1);
    const Tensor phase = low * std::pow(high / low, place) * x;
    parts.push_back(sin(phase));
    parts.push_back(cos(phase));
  }
  return parts;
}

Tensor coordinate_features(const Tensor& x, std::int64_t octaves) {
  std::vector<Tensor> parts =
      waves(x, octaves, 1.0, std::ldexp(1.0, static_cast<int>(octaves) - 1));
  parts.push_back(x);
  return concat(parts, 1);
}

// Real times are expected to lie within a few units, as ln(sigma) / 4 does.
Tensor time_features(const Tensor& t, std::int64_t features, DType dtype) {
  if (t.dtype() == DType::i64) return sinusoidal_embedding(t, features, dtype);
  return concat(waves(reshape(t, Shape{t.numel(), 1}), features / 2, 0.5, 16.0), 1);
}

}  // namespace

void MlpConfig::validate() const {
  for_each_field(*this,
                 [](const char* key, std::int64_t value, std::int64_t low, std::int64_t high) {
                   if (value < low || value > high) {
                     fail<ValueError>("mlp: {} must be in [{}, {}]; got {}", key, low, high, value);
                   }
                 });
  if (time_features % 2 != 0) {
    fail<ValueError>("mlp: time_features must be even; got {}", time_features);
  }
}

std::string MlpConfig::to_json() const {
  Json json;
  for_each_field(*this,
                 [&](const char* key, std::int64_t value, auto, auto) { json[key] = value; });
  return json.dump();
}

MlpConfig MlpConfig::from_json(const std::string& text) {
  const Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) fail<FormatError>("mlp config: not a JSON object: {}", text);
  MlpConfig config;
  std::size_t known = 0;
  for_each_field(config, [&](const char* key, std::int64_t& field, auto, auto) {
    const auto found = json.find(key);
    if (found == json.end() || !found->is_number_integer()) {
      fail<FormatError>("mlp config: {} must be an integer; got {}", key,
                        found == json.end() ? "nothing" : found->dump());
    }
    field = found->template get<std::int64_t>();
    ++known;
  });
  if (json.size() != known) fail<FormatError>("mlp config: unknown keys in {}", text);
  config.validate();
  return config;
}

Mlp::Mlp(const MlpConfig& c, Rng& init) : config(c) {
  c.validate();
  from_x = nn::Linear(c.dimensions * (1 + 2 * c.octaves), c.width, init);
  from_t = nn::Linear(c.time_features, c.width, init);
  for (std::int64_t i = 0; i < c.layers; ++i) hidden.emplace_back(c.width, c.width, init);
  out = nn::Linear(c.width, c.outputs > 0 ? c.outputs : c.dimensions, init, 0.0);
}

Tensor Mlp::operator()(const Tensor& x, const Tensor& t) const {
  expect_floating("mlp", "x", x);
  expect_shape("mlp", "x", x, {x.size(0), config.dimensions});
  expect_shape("mlp", "t", t, {x.size(0)});
  const Tensor time = from_t(time_features(t, config.time_features, x.dtype()));
  Tensor h = from_x(coordinate_features(x, config.octaves)) + time;
  for (const nn::Linear& layer : hidden) h = h + layer(silu(h + time));
  return out(silu(h));
}

}  // namespace ito
