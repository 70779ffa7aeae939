#include "diffusion/models/mlp.h"

#include <cmath>

#include "autograd/ops/elementwise.h"
#include "autograd/ops/layout.h"
#include "diffusion/models/config_json.h"
#include "diffusion/models/time_embedding.h"
#include "tensor/check.h"

namespace ito {
namespace {

constexpr auto mlp_fields = [](auto& c, const auto& f) {
  f("dimensions", c.dimensions);
  f("width", c.width);
  f("layers", c.layers);
  f("octaves", c.octaves);
  f("time_features", c.time_features);
  f("outputs", c.outputs);
  f("continuous_time", c.continuous_time, Since{});
};

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

Tensor time_features(const MlpConfig& config, const Tensor& t, DType dtype) {
  if (!config.continuous_time) return sinusoidal_embedding(t, config.time_features, dtype);
  return concat(waves(reshape(t, Shape{t.numel(), 1}), config.time_features / 2, 0.5, 16.0), 1);
}

}  // namespace

void MlpConfig::validate() const {
  expect_range("mlp", "dimensions", dimensions, 1, 65536);
  expect_range("mlp", "width", width, 1, 65536);
  expect_range("mlp", "layers", layers, 0, 1024);
  expect_range("mlp", "octaves", octaves, 0, 16);
  expect_range("mlp", "time_features", time_features, 4, 65536);
  expect_range("mlp", "outputs", outputs, 0, 65536);
  if (time_features % 2 != 0) {
    fail<ValueError>("mlp: time_features must be even; got {}", time_features);
  }
}

std::string MlpConfig::to_json() const { return config_to_json(*this, mlp_fields); }

MlpConfig MlpConfig::from_json(const std::string& text) {
  return config_from_json<MlpConfig>("mlp", text, mlp_fields);
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
  const Tensor time = from_t(time_features(config, t, x.dtype()));
  Tensor h = from_x(coordinate_features(x, config.octaves)) + time;
  for (const nn::Linear& layer : hidden) h = h + layer(silu(h + time));
  return out(silu(h));
}

}  // namespace ito
