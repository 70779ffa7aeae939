// Reverse-mode automatic differentiation.
//
// An op computes its result and records, beside each input, the vector-Jacobian product (vjp) that
// turns dy, the gradient of its output, into the gradient of that input. A vjp is written in
// ordinary ops, so plain ops can be differentiated any number of times:
//
//   Tensor mul(const Tensor& a, const Tensor& b) {
//     return record("mul", product(a, b), {{a, [b](const Tensor& dy) { return dy * b; }},
//                                          {b, [a](const Tensor& dy) { return dy * a; }}});
//   }
//
// Using it:
//   Tensor w = parameter(Tensor::full({3}, 2.0));
//   Tensor loss = sum(square(w));
//   backward(loss);                          // w.grad() == {4, 4, 4}
//
//   const auto [g] = grad<1>(sum(square(w)), {w});   // functional; a GradOptions with create_graph
//                                                    // to differentiate g again
//
// An op has one output. A vjp that needs the output takes `(y, dy)` and gets it as an argument,
// never by capture (a capture would be a cycle); one that takes `(dy)` does not keep the output
// alive. A vjp returns a gradient of the broadcast shape; the engine sums it to the input's shape.
#pragma once

#include <array>
#include <functional>
#include <memory>
#include <type_traits>
#include <vector>

#include "tensor/tensor.h"

namespace ito {

/// The vector-Jacobian product of one input: `(dy) -> dx` or `(y, dy) -> dx`.
class VjpRule {
 public:
  template <class F>
  requires(!std::is_same_v<std::decay_t<F>, VjpRule>) VjpRule(F f) {
    if constexpr (std::is_invocable_v<F, const Tensor&, const Tensor&>) {
      call_ = std::move(f);
      needs_y_ = true;
    } else {
      call_ = [f = std::move(f)](const Tensor&, const Tensor& dy) { return f(dy); };
    }
  }
  bool needs_y() const { return needs_y_; }
  Tensor operator()(const Tensor& y, const Tensor& dy) const { return call_(y, dy); }

 private:
  std::function<Tensor(const Tensor& y, const Tensor& dy)> call_;
  bool needs_y_ = false;
};

struct InputVjp {
  Tensor input;
  VjpRule vjp;
};

/// Marks `y` as computed by `op` from the inputs and returns it. Does nothing when recording is off
/// or no input needs a gradient. Inputs that are undefined or need no gradient are dropped with
/// their vjp.
Tensor record(const char* op, Tensor y, std::vector<InputVjp> inputs);

/// For ops whose gradients come out of one kernel.
///   reference  the same function composed of plain ops, of the same inputs: the documentation, the
///              test oracle and the second derivative.
///   pullback   the vjp of all inputs at once: dy -> one gradient per input (undefined where
///              `needed[i]` is false). Runs kernels; is not itself differentiated.
using Reference = std::function<Tensor(const std::vector<Tensor>& inputs)>;
using Pullback =
    std::function<std::vector<Tensor>(const Tensor& dy, const std::vector<bool>& needed)>;
Tensor record_fused(const char* op, Tensor y, const std::vector<Tensor>& inputs,
                    Reference reference, Pullback pullback);

/// Makes `t` a leaf that gradients are computed for, and returns it.
Tensor parameter(Tensor t);
/// Whether gradients flow into `t`: it is a parameter or was recorded.
bool requires_grad(const Tensor& t);
/// The same elements without history.
Tensor detach(const Tensor& t);

struct GradOptions {
  bool create_graph = false;  ///< record the gradient's own computation, to differentiate it again
  bool retain_graph = false;  ///< keep the graph for another backward; implied by create_graph
};

/// d loss / d input for each input, with the input's shape. Inputs that the loss does not depend on
/// get zeros. `seed` is dL/dloss (ones by default) and must be given unless loss has one element.
/// Throws GradError: loss without history, freed graph, an input or output of an op that was
/// changed since the forward pass.
std::vector<Tensor> grad(const Tensor& loss, const std::vector<Tensor>& inputs,
                         GradOptions options = {}, const Tensor& seed = {});

template <std::size_t N>
std::array<Tensor, N> grad(const Tensor& loss, const Tensor (&inputs)[N],
                           GradOptions options = {}) {
  auto list = grad(loss, std::vector<Tensor>(inputs, inputs + N), options);
  std::array<Tensor, N> result;
  for (std::size_t i = 0; i < N; ++i) result[i] = std::move(list[i]);
  return result;
}

/// Adds d loss / d p to `p.grad()` of every parameter p that the loss depends on, each as soon as
/// it is known: a pass that ends in an error may have added some. Throws as grad(), and when
/// create_graph is set: a gradient of a gradient is grad()'s work.
void backward(const Tensor& loss, GradOptions options = {}, const Tensor& seed = {});

/// Switches recording of gradients on or off on this thread, for as long as it lives.
class EnableGrad {
 public:
  explicit EnableGrad(bool on = true);
  ~EnableGrad();
  EnableGrad(const EnableGrad&) = delete;
  EnableGrad& operator=(const EnableGrad&) = delete;

 private:
  bool previous_;
};

/// EnableGrad(false): no op is recorded on this thread while one of these lives.
class NoGrad : EnableGrad {
 public:
  NoGrad() : EnableGrad(false) {}
};
bool grad_enabled();

/// f(inputs) without keeping its intermediate results: they are computed again for the gradient.
/// `inputs` must hold every tensor with a gradient that f uses, parameters included; a forgotten
/// one is a GradError when the gradient is computed. f must be repeatable (seek its Rng inside f).
Tensor recompute(const Reference& f, const std::vector<Tensor>& inputs);

/// Number of live recorded operations, for tests of leaks.
std::int64_t live_nodes();

}  // namespace ito
