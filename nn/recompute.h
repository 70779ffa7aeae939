// A module whose intermediate results are computed again for the gradient, instead of kept.
//
//   const nn::AttentionBlock block(256, init);
//   const auto call = [](const nn::AttentionBlock& b, const std::vector<Tensor>& in) {
//     return b(in[0]);
//   };
//   const Tensor y = nn::recompute(block, call, {x});
//
// Memory: the inputs and y in place of everything between them. Time: the forward pass once more,
// about a third of a training step when a whole network does so (Chen et al. 2016, "Training deep
// nets with sublinear memory cost", arXiv 1604.06174).
#pragma once

#include <utility>
#include <vector>

#include "autograd/engine.h"
#include "nn/module.h"

namespace ito::nn {

/// f(module, inputs) by ito::recompute() (autograd/engine.h), which is handed the module's
/// parameters as well. f must be repeatable and must not use other tensors with a gradient.
template <Module M, class F>
Tensor recompute(M module, F f, std::vector<Tensor> inputs) {
  const std::size_t count = inputs.size();
  for (Tensor& p : parameters(module)) inputs.push_back(std::move(p));
  const Reference again = [module = std::move(module), f = std::move(f),
                           count](const std::vector<Tensor>& in) {
    M with_these = module;
    std::size_t next = count;
    for_each_parameter(with_these, [&](const std::string&, Tensor& p) { p = in[next++]; });
    return f(std::as_const(with_these),
             std::vector<Tensor>(in.begin(), in.begin() + static_cast<std::ptrdiff_t>(count)));
  };
  return ito::recompute(again, inputs);
}

}  // namespace ito::nn
