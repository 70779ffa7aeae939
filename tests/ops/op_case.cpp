#include "tests/ops/op_case.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "autograd/engine.h"
#include "tensor/kernels/fill.h"
#include "tensor/launch.h"

namespace ito::optable {
namespace {

std::vector<double> uniforms(Rng& rng, std::size_t n) {
  return rand(rng, {static_cast<std::int64_t>(n)}, DType::f64).to_vector<double>();
}

}  // namespace

std::size_t Array::offset(std::initializer_list<std::int64_t> index) const {
  return position(shape, std::vector<std::int64_t>(index));
}

Sampler uniform(double low, double high) {
  return [=](Rng& rng, std::vector<double>& values) {
    const auto u = uniforms(rng, values.size());
    for (std::size_t i = 0; i < u.size(); ++i) values[i] = low + (high - low) * u[i];
  };
}

Sampler normal() {
  return [](Rng& rng, std::vector<double>& values) {
    values = randn(rng, {static_cast<std::int64_t>(values.size())}, DType::f64).to_vector<double>();
  };
}

Sampler uniform_avoiding(double low, double high, std::vector<double> points, double gap) {
  return [=](Rng& rng, std::vector<double>& values) {
    for (double& value : values) {
      bool near = true;
      while (near) {
        value = low + (high - low) * uniforms(rng, 1)[0];
        near = std::any_of(points.begin(), points.end(),
                           [&](double p) { return std::abs(value - p) < gap; });
      }
    }
  };
}

Sampler distinct(double low, double high) {
  return [=](Rng& rng, std::vector<double>& values) {
    const auto n = static_cast<std::int64_t>(values.size());
    const auto order = permutation(rng, n);
    for (std::size_t i = 0; i < values.size(); ++i) {
      values[i] =
          low + (high - low) * (static_cast<double>(order[i]) + 0.5) / static_cast<double>(n);
    }
  };
}

Sampler integers(std::int64_t low, std::int64_t high) {
  return [=](Rng& rng, std::vector<double>& values) {
    const auto drawn = randint(rng, low, high, {static_cast<std::int64_t>(values.size())})
                           .to_vector<std::int64_t>();
    for (std::size_t i = 0; i < drawn.size(); ++i) values[i] = static_cast<double>(drawn[i]);
  };
}

Tensors make_inputs(const OpCase& row, const std::vector<Shape>& shapes, DType dtype, Device device,
                    std::uint64_t seed) {
  if (shapes.size() != row.inputs.size()) {
    fail<Error>("op table: {}: {} shapes for {} inputs", row.name, shapes.size(),
                row.inputs.size());
  }
  Rng rng(seed, Purpose::test);
  Tensors inputs;
  for (std::size_t i = 0; i < shapes.size(); ++i) {
    const Input& input = row.inputs[i];
    std::vector<double> values(static_cast<std::size_t>(shapes[i].numel()));
    input.sample(rng, values);
    Tensor t;
    if (input.kind == Input::Kind::index) {
      const std::vector<std::int64_t> ids(values.begin(), values.end());
      t = Tensor::from(ids, shapes[i]);
    } else if (dtype == DType::f32) {
      const std::vector<float> rounded(values.begin(), values.end());
      t = Tensor::from(rounded, shapes[i]);
    } else if (dtype == DType::bf16) {
      std::vector<bf16> rounded;
      for (const double value : values) rounded.push_back(bf16(static_cast<float>(value)));
      t = Tensor::from(rounded, shapes[i]);
    } else {
      for (double& value : values) value = static_cast<double>(static_cast<float>(value));
      t = Tensor::from(values, shapes[i]);
    }
    t = t.to(device);
    inputs.push_back(input.kind == Input::Kind::differentiable ? parameter(t) : t);
  }
  return inputs;
}

Array to_array(const Tensor& t) {
  const Tensor here = t.to(Device::cpu());
  Array result(t.shape());
  if (t.numel() == 0) return result;
  launch<kernel::Cast>(Device::cpu(),
                       {here.raw(), result.values.data(), t.numel(), t.dtype(), DType::f64});
  return result;
}

std::size_t position(const Shape& shape, const std::vector<std::int64_t>& index) {
  std::int64_t at = 0;
  for (int d = 0; d < shape.rank(); ++d) {
    at = at * shape[d] + index[static_cast<std::size_t>(d)];
  }
  return static_cast<std::size_t>(at);
}

void for_each_index(const Shape& shape,
                    const std::function<void(const std::vector<std::int64_t>&)>& f) {
  std::vector<std::int64_t> index(static_cast<std::size_t>(shape.rank()), 0);
  for (std::int64_t n = shape.numel(); n > 0; --n) {
    f(index);
    for (int d = shape.rank() - 1; d >= 0; --d) {
      if (++index[static_cast<std::size_t>(d)] < shape[d]) break;
      index[static_cast<std::size_t>(d)] = 0;
    }
  }
}

Array broadcast_map(const Arrays& in, const std::function<double(const double* x)>& f) {
  Shape shape;
  for (const Array& a : in) shape = broadcast("broadcast_map", shape, a.shape);
  Array result(shape);
  std::size_t out = 0;
  for_each_index(shape, [&](const std::vector<std::int64_t>& index) {
    std::vector<double> x;
    for (const Array& a : in) {
      std::vector<std::int64_t> own(index.end() - a.shape.rank(), index.end());
      for (int d = 0; d < a.shape.rank(); ++d) {
        if (a.shape[d] == 1) own[static_cast<std::size_t>(d)] = 0;
      }
      x.push_back(a.values[position(a.shape, own)]);
    }
    result.values[out++] = f(x.data());
  });
  return result;
}

}  // namespace ito::optable
