#include "tensor/tensor.h"

#include <doctest/doctest.h>

#include <cstdint>

#include "tensor/error.h"
#include "tensor/memory.h"

using namespace ito;

TEST_CASE("Tensor: an undefined one says so") {
  const Tensor none;
  CHECK_FALSE(none.defined());
  CHECK(none.str() == "undefined");
  CHECK_THROWS_WITH_AS(none.shape(), "tensor: used before it was given a value", Error);
}

TEST_CASE("Tensor: from, zeros, full and scalar hold what they say, in every dtype") {
  const Tensor x = Tensor::from<float>({1, 2, 3, 4}, {2, 2});
  CHECK(x.to_vector<float>() == std::vector<float>{1, 2, 3, 4});
  CHECK(x.str() == "f32[2, 2] on cpu");
  CHECK(x.bytes() == 16);
  for (const DType dtype : {DType::f32, DType::f64, DType::bf16, DType::i64, DType::u8}) {
    CHECK(Tensor::zeros({3}, dtype).bytes() == 3 * size_of(dtype));
    CHECK(Tensor::full({1}, 7.0, dtype).item() == 7.0);
    CHECK(Tensor::scalar(5.0, dtype).item() == 5.0);
    CHECK(Tensor::scalar(5.0, dtype).rank() == 0);
  }
  CHECK_THROWS_WITH_AS(Tensor::from<float>({1, 2, 3}, {2, 2}),
                       "tensor: [2, 2] holds 4 elements; got 3 values", ShapeError);
}

TEST_CASE("Tensor: empty shapes work") {
  const Tensor x = Tensor::zeros({3, 0, 2});
  CHECK(x.numel() == 0);
  CHECK(x.to_vector<float>().empty());
  CHECK(x.clone().shape() == Shape{3, 0, 2});
}

TEST_CASE("Tensor: elements lie on a boundary of 64 bytes") {
  for (const std::int64_t n : {1, 3, 17, 1000, 3000000}) {
    const Tensor x = Tensor::empty({n}, DType::u8);
    CHECK(reinterpret_cast<std::uintptr_t>(x.raw()) % memory::alignment == 0);
  }
}

TEST_CASE("Tensor: copies of the handle share elements; clone and to do not pretend") {
  Tensor x = Tensor::from<float>({1, 2}, {2});
  const Tensor y = x, z = x.clone();
  x.mutable_data<float>()[0] = 7;
  CHECK(y.data<float>()[0] == 7);
  CHECK(z.data<float>()[0] == 1);
  CHECK(y.shares_storage_with(x));
  CHECK_FALSE(z.shares_storage_with(x));
  CHECK(x.to(Device::cpu()).shares_storage_with(x));  // already there
}

TEST_CASE("Tensor: elements are read only as what they are") {
  Tensor x = Tensor::zeros({2});
  CHECK_THROWS_WITH_AS(x.data<double>(), "tensor: read as f64; got f32[2] on cpu", DTypeError);
  CHECK_THROWS_AS(x.mutable_data<std::int64_t>(), DTypeError);
  CHECK_THROWS_AS(x.to_vector<double>(), DTypeError);
}

TEST_CASE("item: needs exactly one element") {
  CHECK(Tensor::from<double>({2.5}, {1, 1}).item() == 2.5);
  CHECK_THROWS_WITH_AS(Tensor::zeros({2}).item(),
                       "item: needs exactly one element; got f32[2] on cpu", ShapeError);
  CHECK_THROWS_AS(Tensor::zeros({0}).item(), ShapeError);
}

TEST_CASE("alias: the same elements under another shape and start") {
  Tensor x = Tensor::from<float>({0, 1, 2, 3, 4, 5}, {2, 3});
  Tensor row = x.alias({3}, 3);
  CHECK(row.to_vector<float>() == std::vector<float>{3, 4, 5});
  CHECK(row.alias({2}, 1).to_vector<float>() == std::vector<float>{4, 5});
  row.fill(9);
  CHECK(x.to_vector<float>() == std::vector<float>{0, 1, 2, 9, 9, 9});
  CHECK(x.alias({0}, 6).numel() == 0);
  CHECK_THROWS_WITH_AS(x.alias({4}, 3),
                       "alias: [4] at element 3 does not fit; got f32[2, 3] on cpu", ShapeError);
  CHECK_THROWS_AS(x.alias({1}, -1), ShapeError);
  CHECK_THROWS_AS(x.alias({1}, INT64_MAX), ShapeError);
  CHECK_THROWS_AS(row.alias({4}), ShapeError);  // within the alias, not within its storage
}

TEST_CASE("assign: overwrites the elements in place") {
  Tensor x = Tensor::zeros({2});
  const Tensor same = x;
  x.assign(Tensor::from<float>({3, 4}, {2}));
  CHECK(same.to_vector<float>() == std::vector<float>{3, 4});
  CHECK_THROWS_WITH_AS(
      x.assign(Tensor::zeros({3})),
      "assign: shape and dtype must match; got source f32[3] on cpu, destination f32[2] on cpu",
      ShapeError);
  CHECK_THROWS_AS(x.assign(Tensor::zeros({2}, DType::f64)), Error);
}

TEST_CASE("move_into: every handle on the tensor moves into the new home, elements kept") {
  Tensor home = Tensor::zeros({5});
  Tensor x = Tensor::from<float>({1, 2}, {2});
  const Tensor copy = x;
  x.move_into(home, 2);
  CHECK(home.to_vector<float>() == std::vector<float>{0, 0, 1, 2, 0});
  home.fill(8);
  CHECK(copy.to_vector<float>() == std::vector<float>{8, 8});
  CHECK(copy.shares_storage_with(home));
  CHECK_THROWS_AS(x.move_into(home, 4), ShapeError);
  Tensor other = Tensor::zeros({5}, DType::f64);
  CHECK_THROWS_AS(x.move_into(other, 0), Error);
}

TEST_CASE("Tensor: writing counts as a change, reading does not") {
  Tensor x = Tensor::zeros({2});
  const auto before = x.storage()->version;
  x.data<float>();
  x.to_vector<float>();
  x.clone();
  CHECK(x.storage()->version == before);
  x.mutable_data<float>();
  CHECK(x.storage()->version > before);
  const auto after = x.storage()->version;
  x.alias({1}, 1).fill(1.0);
  CHECK(x.storage()->version > after);
}

TEST_CASE("Tensor: a device that is not there is refused with the reason") {
  CHECK(available(Device::cpu()));
  CHECK(Device::cpu().str() == "cpu");
  CHECK(Device::cuda(1).str() == "cuda:1");
  if (available(Device::cuda())) return;
  CHECK_FALSE(why_unavailable(Device::cuda()).empty());
  CHECK_THROWS_AS(Tensor::zeros({2}, DType::f32, Device::cuda()), DeviceError);
  CHECK_THROWS_AS(Tensor::zeros({2}).to(Device::cuda()), DeviceError);
}
