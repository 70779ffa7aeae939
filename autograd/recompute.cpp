#include "autograd/node.h"
#include "tensor/error.h"

namespace ito {
namespace {

// f(inputs), with recording on. Everything with a gradient that f uses must be among the inputs:
// what else it uses would get no gradient, which nobody would notice.
Tensor closed_call(const Reference& f, const std::vector<Tensor>& inputs) {
  const std::uint64_t first_id = Node::next_id();
  const Tensor y = f(inputs);
  std::unordered_set<Node*> known;
  for (const Tensor& x : inputs) {
    if (x.defined() && x.node()) known.insert(x.node().get());
  }
  if (y.node() == nullptr) fail<GradError>("checkpoint: f is not a function of its inputs");
  const auto enter = [&](const Node* node) {
    if (node->id < first_id) {
      fail<GradError>("checkpoint: f uses a {} that is not among its inputs",
                      node->is_parameter() ? "parameter" : "tensor with history");
    }
  };
  traverse(
      y.node().get(), enter, [](Node*) {}, known);
  return y;
}

}  // namespace

Tensor recompute(const Reference& f, const std::vector<Tensor>& inputs) {
  Tensor y;
  {
    const NoGrad off;
    y = detach(f(inputs));
  }
  const Pullback pullback = [f, inputs](const Tensor& dy, const std::vector<bool>& needed) {
    const EnableGrad on;
    std::vector<Tensor> fresh, wanted;
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      fresh.push_back(!inputs[i].defined() ? Tensor()
                      : needed[i]          ? parameter(detach(inputs[i]))
                                           : detach(inputs[i]));
      if (needed[i]) wanted.push_back(fresh.back());
    }
    auto gradients = grad(closed_call(f, fresh), wanted, {}, dy);
    std::vector<Tensor> result(inputs.size());
    for (std::size_t i = inputs.size(); i-- > 0;) {
      if (!needed[i]) continue;
      result[i] = std::move(gradients.back());
      gradients.pop_back();
    }
    return result;
  };
  const Reference reference = [f](const std::vector<Tensor>& in) { return closed_call(f, in); };
  return record_fused("recompute", y, inputs, reference, pullback);
}

}  // namespace ito
