#include "diffusion/models/mlp.h"

#include <doctest/doctest.h>

#include <set>

#include "autograd/engine.h"
#include "autograd/gradcheck.h"
#include "autograd/ops/elementwise.h"
#include "autograd/ops/layout.h"
#include "autograd/ops/reduce.h"
#include "nn/module.h"
#include "tensor/error.h"

using namespace ito;

namespace {

// An output that starts at 0 hides everything before it.
Mlp visible(const MlpConfig& config) {
  Rng init(1, Purpose::init);
  Mlp mlp(config, init);
  mlp.out.weight = parameter(randn(init, mlp.out.weight.shape()));
  return mlp;
}

}  // namespace

TEST_CASE("mlp: shapes, parameters and a start at 0") {
  Rng init(1, Purpose::init), rng(2, Purpose::test);
  Mlp mlp({}, init);
  const Tensor x = randn(rng, {5, 2}), t = Tensor::from<std::int64_t>({0, 1, 50, 98, 99}, {5});
  CHECK(mlp(x, t).shape() == Shape{5, 2});
  CHECK(max(abs(mlp(x, t))).item() == 0.0);
  // 2 (1 + 2 * 4) coordinates, 32 features of time, 3 layers of 128, 2 numbers.
  CHECK(nn::parameter_count(mlp) == 18 * 128 + 128 + 32 * 128 + 128 + 3 * (128 * 128 + 128) + 258);
  std::set<std::string> names;
  for (const auto& [name, tensor] : nn::named_parameters(mlp)) names.insert(name);
  CHECK(names.count("hidden.2.weight") == 1);
  CHECK(names.size() == 12);
  Mlp wide({.dimensions = 3, .outputs = 6}, init);
  CHECK(wide(randn(rng, {4, 3}), Tensor::zeros({4}, DType::i64)).shape() == Shape{4, 6});
}

TEST_CASE("mlp: sees its points one by one, and the time") {
  const Mlp mlp = visible({.width = 16});
  Rng rng(3, Purpose::test);
  const Tensor x = randn(rng, {6, 2});
  const auto at = [&](const Tensor& points, std::int64_t step) {
    return mlp(points, Tensor::full({points.size(0)}, static_cast<double>(step), DType::i64));
  };
  const Tensor all = at(x, 3);
  CHECK(max(abs(slice(all, 0, 2, 4) - at(slice(x, 0, 2, 4), 3))).item() < 1e-5);
  CHECK(max(abs(all - at(x, 4))).item() > 1e-3);
  const Tensor early = mlp(x, Tensor::full({6}, -1.5)), late = mlp(x, Tensor::full({6}, 1.0));
  CHECK(max(abs(early - late)).item() > 1e-3);
}

TEST_CASE("mlp: gradients of parameters and points agree with finite differences") {
  Mlp mlp = visible({.width = 5, .layers = 2, .octaves = 2, .time_features = 4});
  nn::to_dtype(mlp, DType::f64);
  Rng rng(4, Purpose::test);
  const Tensor x = randn(rng, {3, 2}, DType::f64);
  const Tensor t = Tensor::from<double>({-1.0, 0.2, 1.0}, {3});
  std::vector<Tensor> inputs = nn::parameters(mlp);
  inputs.push_back(parameter(x));
  const auto f = [&](const std::vector<Tensor>& in) {
    std::size_t i = 0;
    nn::for_each_parameter(mlp, [&](const std::string&, Tensor& p) { p = in[i++]; });
    return mlp(in.back(), t);
  };
  const GradcheckResult result = gradcheck(f, inputs);
  CHECK_MESSAGE(result.ok, result.report);
}

TEST_CASE("mlp config: JSON there and back, and what is refused") {
  const MlpConfig config{.dimensions = 3, .width = 64, .layers = 1, .outputs = 6};
  CHECK(MlpConfig::from_json(config.to_json()) == config);
  CHECK_THROWS_AS(MlpConfig::from_json("[]"), FormatError);
  CHECK_THROWS_AS(MlpConfig::from_json(R"({"dimensions": 2})"), FormatError);
  CHECK_THROWS_AS(MlpConfig::from_json(R"({"x":1,)" + config.to_json().substr(1)), FormatError);
  Rng init(1, Purpose::init);
  CHECK_THROWS_WITH_AS(Mlp({.width = 0}, init), "mlp: width must be in [1, 65536]; got 0",
                       ValueError);
  CHECK_THROWS_AS(Mlp({.time_features = 5}, init), ValueError);
  const Mlp mlp({}, init);
  CHECK_THROWS_AS(mlp(Tensor::zeros({4, 3}), Tensor::zeros({4}, DType::i64)), ShapeError);
  CHECK_THROWS_AS(mlp(Tensor::zeros({4, 2}), Tensor::zeros({3}, DType::i64)), ShapeError);
}
