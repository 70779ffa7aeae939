#include "tensor/tensor.h"

#include <doctest/doctest.h>

#include <cstdint>
#include <cstring>
#include <string>

#include "tensor/error.h"
#include "tensor/memory.h"
#include "tests/devices.h"

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

TEST_CASE("view: the same elements under another shape and start") {
  Tensor x = Tensor::from<float>({0, 1, 2, 3, 4, 5}, {2, 3});
  Tensor row = x.view({3}, 3);
  CHECK(row.to_vector<float>() == std::vector<float>{3, 4, 5});
  CHECK(row.view({2}, 1).to_vector<float>() == std::vector<float>{4, 5});
  row.fill(9);
  CHECK(x.to_vector<float>() == std::vector<float>{0, 1, 2, 9, 9, 9});
  CHECK(x.view({0}, 6).numel() == 0);
  CHECK_THROWS_WITH_AS(x.view({4}, 3), "view: [4] at element 3 does not fit; got f32[2, 3] on cpu",
                       ShapeError);
  CHECK_THROWS_AS(x.view({1}, -1), ShapeError);
  CHECK_THROWS_AS(x.view({1}, INT64_MAX), ShapeError);
  CHECK_THROWS_AS(row.view({4}), ShapeError);  // within the alias, not within its storage
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
}

TEST_CASE("move_into: elements take the dtype of the new home") {
  for (const Device device : testing::devices()) {
    Tensor home = Tensor::zeros({4}, DType::bf16, device);
    Tensor x = Tensor::from<float>({1.5f, 3.00001f}, {2}).to(device);
    const Tensor copy = x;
    x.move_into(home, 1);
    CHECK(copy.dtype() == DType::bf16);
    CHECK(copy.shares_storage_with(home));
    CHECK(home.to_vector<bf16>() ==
          std::vector<bf16>{bf16(0.0f), bf16(1.5f), bf16(3.0f), bf16(0.0f)});
  }
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
  x.view({1}, 1).fill(1.0);
  CHECK(x.storage()->version > after);
}

TEST_CASE("Tensor: to moves every dtype to the device and back unchanged") {
  if (!testing::device_answers()) return;
  const Device device = Device::cuda();
  for (const DType dtype : {DType::f32, DType::f64, DType::bf16, DType::i64, DType::u8}) {
    const Tensor x = Tensor::full({3, 5}, 7.0, dtype), there = x.to(device);
    CHECK(there.device() == device);
    CHECK(there.dtype() == dtype);
    CHECK(there.to(device).shares_storage_with(there));
    CHECK(std::memcmp(there.to(Device::cpu()).raw(), x.raw(), x.bytes()) == 0);
    CHECK(there.view({1}, 14).item() == 7.0);
    CHECK(Tensor::full({1}, 3.0, dtype, device).item() == 3.0);
    CHECK(Tensor::scalar(5.0, dtype, device).item() == 5.0);
  }
  CHECK(Tensor::zeros({2, 3}, DType::f32, device).str() == "f32[2, 3] on cuda:0");
  CHECK(Tensor::zeros({0, 3}, DType::f32, device).to(Device::cpu()).numel() == 0);
}

TEST_CASE("Tensor: fill, assign, clone, alias and move_into on the device") {
  if (!testing::device_answers()) return;
  const Device device = Device::cuda();
  const auto on_device = [&](std::initializer_list<float> values) {
    return Tensor::from<float>(values, {static_cast<std::int64_t>(values.size())}).to(device);
  };
  Tensor x = on_device({0, 1, 2, 3, 4, 5});
  const Tensor copy = x.clone();
  x.view({3}, 3).fill(9.0);
  CHECK(x.to_vector<float>() == std::vector<float>{0, 1, 2, 9, 9, 9});
  CHECK(copy.to_vector<float>() == std::vector<float>{0, 1, 2, 3, 4, 5});
  x.assign(copy);
  CHECK(x.to_vector<float>() == copy.to_vector<float>());
  x.assign(Tensor::zeros({6}));  // from the CPU
  CHECK(x.to_vector<float>() == std::vector<float>(6, 0.0f));
  Tensor here = Tensor::zeros({6});
  here.assign(copy);  // to the CPU
  CHECK(here.to_vector<float>() == copy.to_vector<float>());
  Tensor home = Tensor::zeros({8}, DType::f32, device), part = on_device({1, 2});
  part.move_into(home, 3);
  CHECK(home.to_vector<float>() == std::vector<float>{0, 0, 0, 1, 2, 0, 0, 0});
  CHECK(part.shares_storage_with(home));
}

TEST_CASE("Tensor: a second GPU is refused with the way to choose one") {
  if (!testing::device_answers()) return;
  const std::string reason = why_unavailable(Device::cuda(1));
  CHECK(reason.find("CUDA_VISIBLE_DEVICES=1") != std::string::npos);
  CHECK_THROWS_WITH_AS(Tensor::zeros({2}, DType::f32, Device::cuda(1)), reason.c_str(),
                       DeviceError);
  CHECK_THROWS_AS(Tensor::zeros({2}).to(Device::cuda(1)), DeviceError);
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
