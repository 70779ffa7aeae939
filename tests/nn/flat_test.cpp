#include "nn/flat.h"

#include <doctest/doctest.h>

#include <cstring>

#include "autograd/engine.h"
#include "tests/nn/tiny_model.h"

using namespace ito;

namespace {

Tensor loss_of(const test::TinyModel& model) {
  Rng rng(2, Purpose::test);
  return mean(square(model(randn(rng, {2, 4, 4, 4}), Tensor::from<std::int64_t>({0, 2}, {2}))));
}

}  // namespace

TEST_CASE("FlatParameters: moves every parameter and keeps names, shapes and values") {
  auto model = test::make_tiny_model(), other = test::make_tiny_model();
  nn::FlatParameters flat(model);
  const auto named = nn::named_parameters(model), expected = nn::named_parameters(other);
  REQUIRE(flat.entries.size() == named.size());
  CHECK(flat.count() == nn::parameter_count(model));
  std::int64_t end = 0;
  for (std::size_t i = 0; i < named.size(); ++i) {
    const auto& [name, t] = named[i];
    const auto& entry = flat.entries[i];
    CHECK(entry.name == name);
    CHECK(entry.shape == t.shape());
    CHECK(entry.offset >= end);
    CHECK(entry.offset % 16 == 0);
    end = entry.offset + t.numel();
    CHECK(t.shares_storage_with(flat.master));
    CHECK(t.raw() == flat.master.view(entry.shape, entry.offset).raw());
    CHECK(t.to_vector<float>() == expected[i].second.to_vector<float>());
  }
  CHECK(flat.master.numel() >= end);
}

TEST_CASE("FlatParameters: what is written to a parameter is in the buffer, and the reverse") {
  auto model = test::make_tiny_model();
  nn::FlatParameters flat(model);
  const Tensor copy_of_handle = model.head.bias;
  model.head.bias.fill(5.0);
  CHECK(flat.views(flat.master).back().second.to_vector<float>() == std::vector<float>{5, 5});
  flat.master.fill(7.0);
  CHECK(copy_of_handle.to_vector<float>() == std::vector<float>{7, 7});
}

TEST_CASE("FlatParameters: gradients are the ones without it, and add up in place") {
  auto model = test::make_tiny_model(), other = test::make_tiny_model();
  backward(loss_of(other));
  nn::FlatParameters flat(model);
  const void* place = flat.grads.raw();
  backward(loss_of(model));
  const auto named = nn::named_parameters(model), expected = nn::named_parameters(other);
  for (std::size_t i = 0; i < named.size(); ++i) {
    CHECK(named[i].second.grad().shares_storage_with(flat.grads));
    CHECK_MESSAGE(
        named[i].second.grad().to_vector<float>() == expected[i].second.grad().to_vector<float>(),
        named[i].first);
  }
  const auto once = flat.grads.to_vector<float>();
  backward(loss_of(model));
  const auto twice = flat.grads.to_vector<float>();
  for (std::size_t i = 0; i < once.size(); ++i) CHECK(twice[i] == 2 * once[i]);
  CHECK(flat.grads.raw() == place);
  flat.zero_grad();
  for (const float g : model.head.weight.grad().to_vector<float>()) CHECK(g == 0.0f);
}

TEST_CASE("FlatParameters: between the parameters there are zeros") {
  auto model = test::make_tiny_model();
  nn::FlatParameters flat(model);
  for (auto& [name, t] : nn::named_parameters(model)) Tensor(t).fill(0.0);
  for (const float v : flat.master.to_vector<float>()) CHECK(v == 0.0f);
}

TEST_CASE("FlatParameters: copies are handles on the same buffers") {
  auto model = test::make_tiny_model();
  nn::FlatParameters flat(model);
  nn::FlatParameters copy = flat;
  copy.master.fill(2.0);
  CHECK(model.head.bias.to_vector<float>() == std::vector<float>{2, 2});
}

TEST_CASE("FlatParameters: refuses what cannot be one buffer") {
  const Tensor a = parameter(Tensor::zeros({2})), b = parameter(Tensor::zeros({2}, DType::f64));
  using List = std::vector<nn::NamedTensor>;
  CHECK_THROWS_WITH_AS(nn::FlatParameters(List{}), "FlatParameters: there are no parameters",
                       ValueError);
  CHECK_THROWS_WITH_AS(
      nn::FlatParameters(List{{"a", a}, {"b", b}}),
      "FlatParameters: all parameters must have one dtype; got a f32[2] on cpu and b "
      "f64[2] on cpu",
      DTypeError);
  CHECK_THROWS_WITH_AS(nn::FlatParameters(List{{"a", a}, {"b", a}}),
                       "FlatParameters: a and b are the same tensor; visit it once", ValueError);
  const Tensor c = parameter(Tensor::zeros({2}));
  CHECK_THROWS_WITH_AS(nn::FlatParameters(List{{"a", a}, {"a", c}}),
                       "FlatParameters: two parameters are named a", ValueError);
  const nn::FlatParameters flat(List{{"a", a}});
  CHECK_THROWS_AS(flat.views(Tensor::zeros({3})), ShapeError);
}
