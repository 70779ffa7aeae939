#include "nn/finite.h"

#include <doctest/doctest.h>

#include <cmath>

using namespace ito;

TEST_CASE("find_non_finite: names the first bad tensor and element") {
  Tensor a = Tensor::zeros({2, 3}), b = Tensor::zeros({100000}), c = Tensor::full({2}, NAN);
  const std::vector<nn::NamedTensor> list{
      {"a", a}, {"ids", Tensor::zeros({2}, DType::i64)}, {"b", b}, {"c", c}};
  b.mutable_data<float>()[99998] = -INFINITY;
  b.mutable_data<float>()[70000] = NAN;
  const auto found = nn::find_non_finite(list);
  REQUIRE(found);
  CHECK(found->name == "b");
  CHECK(found->index == 70000);
  CHECK(std::isnan(found->value));
  CHECK(found->str() == "b f32[100000] on cpu: element 70000 is nan");
  a.mutable_data<float>()[0] = INFINITY;
  CHECK(nn::find_non_finite(list)->str() == "a f32[2, 3] on cpu: element 0 is inf");
}

TEST_CASE("find_non_finite: finite tensors, the largest numbers and empty tensors are fine") {
  const Tensor large = Tensor::full({3}, 3.4e38), tiny = Tensor::full({3}, 1e-45);
  CHECK_FALSE(nn::find_non_finite({{"l", large}, {"t", tiny}, {"e", Tensor::zeros({0})}}));
  CHECK_FALSE(nn::find_non_finite({}));
}
