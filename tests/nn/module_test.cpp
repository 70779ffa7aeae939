#include "nn/module.h"

#include <doctest/doctest.h>

#include <memory>

#include "autograd/engine.h"
#include "tests/nn/tiny_model.h"

using namespace ito;

namespace {
struct Holder {
  std::unique_ptr<nn::Linear> some, none;
  template <class V>
  void visit(V&& v) {
    v("some", some);
    v("none", none);
  }
};
}  // namespace

TEST_CASE("named_parameters: dotted paths in the order of visit, pinned") {
  auto model = test::make_tiny_model();
  std::vector<std::string> lines;
  for (const auto& [name, t] : nn::named_parameters(model)) {
    lines.push_back(name + " " + t.shape().str());
  }
  CHECK(lines == std::vector<std::string>{
                     "labels.weight [3, 4]",
                     "blocks.0.norm.weight [4]",
                     "blocks.0.norm.bias [4]",
                     "blocks.0.conv.weight [4, 3, 3, 4]",
                     "blocks.0.conv.bias [4]",
                     "blocks.1.norm.weight [4]",
                     "blocks.1.norm.bias [4]",
                     "blocks.1.conv.weight [6, 3, 3, 4]",
                     "blocks.1.conv.bias [6]",
                     "blocks.1.shortcut.weight [6, 1, 1, 4]",
                     "blocks.1.shortcut.bias [6]",
                     "attention.group_norm.weight [6]",
                     "attention.group_norm.bias [6]",
                     "attention.to_q.weight [6, 6]",
                     "attention.to_q.bias [6]",
                     "attention.to_k.weight [6, 6]",
                     "attention.to_k.bias [6]",
                     "attention.to_v.weight [6, 6]",
                     "attention.to_v.bias [6]",
                     "attention.to_out.0.weight [6, 6]",
                     "attention.to_out.0.bias [6]",
                     "head.weight [2, 6]",
                     "head.bias [2]",
                 });
}

TEST_CASE("parameter_count: counts the elements of the list") {
  auto model = test::make_tiny_model();
  std::int64_t count = 0;
  for (const Tensor& t : nn::parameters(model)) count += t.numel();
  CHECK(nn::parameter_count(model) == count);
  CHECK(count == 12 + (8 + 144 + 4) + (8 + 216 + 6 + 24 + 6) + (12 + 4 * 42) + 14);
}

TEST_CASE("named_parameters: the tensors are the module's own") {
  auto model = test::make_tiny_model();
  nn::named_parameters(model).back().second.fill(3.0);
  CHECK(model.head.bias.to_vector<float>() == std::vector<float>{3.0f, 3.0f});
}

TEST_CASE("named_parameters: a unique_ptr is followed, an empty one skipped") {
  Rng init(1, Purpose::init);
  Holder holder{std::make_unique<nn::Linear>(2, 3, init), nullptr};
  const auto list = nn::named_parameters(holder);
  REQUIRE(list.size() == 2);
  CHECK(list[0].first == "some.weight");
}

TEST_CASE("to_dtype: parameters become f64 parameters with the same values") {
  auto model = test::make_tiny_model();
  const auto before = model.head.weight.to_vector<float>();
  nn::to_dtype(model, DType::f64);
  for (const nn::NamedTensor& p : nn::named_parameters(model)) {
    CHECK_MESSAGE(p.second.dtype() == DType::f64, p.first);
    CHECK_MESSAGE(requires_grad(p.second), p.first);
  }
  const auto after = model.head.weight.to_vector<double>();
  CHECK(std::vector<float>(after.begin(), after.end()) == before);
}

TEST_CASE("backward: every parameter of a model gets a gradient") {
  auto model = test::make_tiny_model();
  Rng rng(2, Purpose::test);
  model.attention.to_out.weight.fill(0.1);  // zero at first, which would hide what is behind it
  backward(mean(square(model(randn(rng, {2, 4, 4, 4}), Tensor::from<std::int64_t>({0, 2}, {2})))));
  for (const nn::NamedTensor& p : nn::named_parameters(model)) {
    REQUIRE_MESSAGE(p.second.grad().defined(), p.first);
    CHECK_MESSAGE(sum(abs(p.second.grad())).item() > 0.0, p.first);
  }
}
