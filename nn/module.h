// Modules: a module is a struct, and `visit` is the list of its fields. That list is all the
// library needs to name, count, move, save, load, average or optimise its parameters.
//
//   struct Mlp {
//     nn::Linear hidden, out;
//     std::vector<nn::Linear> more;
//     Mlp(Rng& init) : hidden(2, 64, init), out(64, 2, init) {}
//     Tensor operator()(const Tensor& x) const { return out(silu(hidden(x))); }
//     template <class V>
//     void visit(V&& v) { v("hidden", hidden); v("more", more); v("out", out); }
//   };
//   Mlp mlp(init);
//   nn::named_parameters(mlp);   // hidden.weight, hidden.bias, more.0.weight, ..., out.bias
//
// A field is a Tensor (a parameter), a module, or a vector, optional or unique_ptr of fields;
// undefined tensors and empty optionals are skipped. There is no base class and `operator()` is not
// virtual: what a network takes is its own affair. Functions without parameters (silu, dropout)
// need no module.
#pragma once

#include <concepts>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "tensor/tensor.h"

namespace ito::nn {

using NamedTensor = std::pair<std::string, Tensor>;

namespace detail {
/// Stands for any visitor in the check that a type has `visit`.
struct AnyVisitor {
  template <class F>
  void operator()(std::string_view, F&) const {}
};
}  // namespace detail

template <class M>
concept Module = requires(M& m) {
  m.visit(detail::AnyVisitor{});
};

namespace detail {

template <class F>
void visit_field(const std::string& name, Tensor& field, const F& f) {
  if (field.defined()) f(name, field);
}

template <class T, class F>
void visit_field(const std::string& name, std::vector<T>& fields, const F& f);
template <class T, class F>
void visit_field(const std::string& name, std::optional<T>& field, const F& f);
template <class T, class F>
void visit_field(const std::string& name, std::unique_ptr<T>& field, const F& f);

// A visitor that takes modules is given them before their fields.
template <Module M, class F>
void visit_field(const std::string& name, M& module, const F& f) {
  if constexpr (std::is_invocable_v<const F&, const std::string&, M&>) f(name, module);
  module.visit([&](std::string_view part, auto& field) {
    visit_field(name.empty() ? std::string(part) : name + "." + std::string(part), field, f);
  });
}

template <class T, class F>
void visit_field(const std::string& name, std::vector<T>& fields, const F& f) {
  for (std::size_t i = 0; i < fields.size(); ++i) {
    visit_field(name + "." + std::to_string(i), fields[i], f);
  }
}

template <class T, class F>
void visit_field(const std::string& name, std::optional<T>& field, const F& f) {
  if (field) visit_field(name, *field, f);
}

template <class T, class F>
void visit_field(const std::string& name, std::unique_ptr<T>& field, const F& f) {
  if (field) visit_field(name, *field, f);
}

}  // namespace detail

/// Calls `f(name, tensor)` for every parameter, in the order of `visit`; the tensor may be
/// replaced.
template <Module M, class F>
void for_each_parameter(M& module, const F& f) {
  detail::visit_field(std::string(), module, f);
}

/// Every parameter with its dotted path, in the order of `visit`. The tensors share elements with
/// the module's.
template <Module M>
std::vector<NamedTensor> named_parameters(M& module) {
  std::vector<NamedTensor> list;
  for_each_parameter(module,
                     [&](const std::string& name, Tensor& t) { list.emplace_back(name, t); });
  return list;
}

template <Module M>
std::vector<Tensor> parameters(M& module) {
  std::vector<Tensor> list;
  for_each_parameter(module, [&](const std::string&, Tensor& t) { list.push_back(t); });
  return list;
}

/// Number of elements of all parameters.
template <Module M>
std::int64_t parameter_count(M& module) {
  std::int64_t count = 0;
  for_each_parameter(module, [&](const std::string&, Tensor& t) { count += t.numel(); });
  return count;
}

namespace detail {
Tensor converted_parameter(const Tensor& t, DType dtype);
}

/// Replaces every parameter by one of another floating dtype, for example f64 to check gradients.
/// Call it before tensors are handed to an optimiser: the old ones are no longer the module's.
template <Module M>
void to_dtype(M& module, DType dtype) {
  for_each_parameter(
      module, [&](const std::string&, Tensor& t) { t = detail::converted_parameter(t, dtype); });
}

}  // namespace ito::nn
