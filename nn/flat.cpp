#include "nn/flat.h"

#include <unordered_map>

#include "tensor/check.h"
#include "tensor/kernels/fill.h"
#include "tensor/launch.h"
#include "tensor/math.h"

namespace ito::nn {
namespace {

constexpr std::int64_t alignment = 16;  // elements: a cache line of f32, any vector load

std::int64_t align(std::int64_t n) { return round_up(n, alignment); }

void check(const std::vector<NamedTensor>& parameters) {
  if (parameters.empty()) fail<ValueError>("FlatParameters: there are no parameters");
  std::unordered_map<std::string, int> names;
  std::unordered_map<const void*, std::string>
      tensors;  // by the slot that copies of a handle share
  for (const auto& [name, t] : parameters) {
    expect_floating("FlatParameters", name.c_str(), t);
    if (t.dtype() != parameters.front().second.dtype()) {
      fail<DTypeError>("FlatParameters: all parameters must have one dtype; got {} {} and {} {}",
                       parameters.front().first, parameters.front().second.str(), name, t.str());
    }
    if (names[name]++ > 0) fail<ValueError>("FlatParameters: two parameters are named {}", name);
    const auto [at, fresh] = tensors.emplace(t.grad_slot().get(), name);
    if (!fresh) {
      fail<ValueError>("FlatParameters: {} and {} are the same tensor; visit it once", at->second,
                       name);
    }
  }
}

}  // namespace

FlatParameters::FlatParameters(std::vector<NamedTensor> parameters, Device device,
                               std::optional<DType> model_dtype) {
  check(parameters);
  const DType dtype = parameters.front().second.dtype();
  const DType computed = model_dtype.value_or(dtype);
  if (computed != dtype && !(dtype == DType::f32 && computed == DType::bf16)) {
    fail<DTypeError>(
        "FlatParameters: {} parameters cannot be worked with in {}; f32 ones in bf16 can",
        name_of(dtype), name_of(computed));
  }
  std::int64_t n = 0;
  for (const auto& [name, t] : parameters) {
    entries.push_back({name, t.shape(), n});
    n = align(n + t.numel());
  }
  master = Tensor::zeros({n}, dtype, device);
  model = computed == dtype ? master : Tensor::zeros({n}, computed, device);
  grads = Tensor::zeros({n}, computed, device);
  for (std::size_t i = 0; i < entries.size(); ++i) {
    Tensor& t = parameters[i].second;
    t.move_into(master, entries[i].offset);
    if (mixed()) t.move_into(model, entries[i].offset);
    t.set_grad(grads.view(entries[i].shape, entries[i].offset));
  }
}

void FlatParameters::load_model(const Tensor& source) {
  expect_shape("FlatParameters", "source", source, master.shape());
  if (source.dtype() == model.dtype()) {
    if (source.raw() != model.raw()) model.assign(source);
    return;
  }
  launch<kernel::Cast>(model.device(), {source.raw(), model.mutable_raw(), source.numel(),
                                        source.dtype(), model.dtype()});
}

std::int64_t FlatParameters::count() const {
  std::int64_t n = 0;
  for (const Entry& e : entries) n += e.shape.numel();
  return n;
}

std::vector<NamedTensor> FlatParameters::views(const Tensor& buffer) const {
  expect_shape("FlatParameters", "buffer", buffer, master.shape());
  std::vector<NamedTensor> list;
  for (const Entry& e : entries) list.emplace_back(e.name, buffer.view(e.shape, e.offset));
  return list;
}

}  // namespace ito::nn
