#include "autograd/engine.h"

#include <queue>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "autograd/node.h"
#include "autograd/ops/elementwise.h"
#include "autograd/ops/layout.h"
#include "autograd/ops/reduce.h"
#include "tensor/check.h"
#include "tensor/kernels/elementwise.h"
#include "tensor/launch.h"
#include "tensor/profile.h"

namespace ito {
namespace {

bool wants_record(const Tensor& t) { return t.defined() && t.node() != nullptr; }

Tensor attach(Tensor y, std::shared_ptr<Node> node) {
  y.set_node(std::move(node));
  return y;
}

// The output of a recorded op under another handle, with history.
Tensor with_history(const Tensor& y, Node& node) {
  return attach(y.view(), node.shared_from_this());
}

// dx summed over the axes along which the input was broadcast.
Tensor sum_to_shape(const char* op, Tensor dx, const Shape& shape) {
  if (dx.shape() == shape) return dx;
  std::vector<int> axes;
  const int extra = dx.rank() - shape.rank();
  for (int i = 0; i < dx.rank(); ++i) {
    if (i < extra || (shape[i - extra] == 1 && dx.size(i) != 1)) axes.push_back(i);
  }
  Tensor reduced = extra < 0 || axes.empty() ? dx : sum(dx, axes, /*keep_dims=*/true);
  if (reduced.numel() != shape.numel()) {
    fail<GradError>("{}: the gradient's shape {} does not reduce to the input's {}", op,
                    dx.shape().str(), shape.str());
  }
  return reduced.shape() == shape ? reduced : reshape(reduced, shape);
}

// Identity with history: a fresh input for a reference, so that one input reached through another
// is not counted twice.
Tensor identity(const Tensor& x) {
  return record("identity", x.view(), {{x, [](const Tensor& dy) { return dy; }}});
}

// Gradients of a fused op that can be differentiated again: those of its reference.
std::vector<Tensor> differentiable_pullback(const Node& node, const Tensor& dy) {
  std::vector<Tensor> fresh, wanted;
  for (const Tensor& x : node.inputs) fresh.push_back(wants_record(x) ? identity(x) : x);
  for (const std::size_t i : node.edge_input) wanted.push_back(fresh[i]);
  const Tensor y = node.reference(fresh);
  return grad(y, wanted, {.create_graph = true}, dy);
}

std::vector<Tensor> pull_back(Node& node, const Tensor& dy, const std::vector<bool>& wanted,
                              bool create_graph) {
  std::vector<Tensor> result(node.edges.size());
  if (node.pullback) {
    if (create_graph) return differentiable_pullback(node, dy);
    std::vector<bool> needed(node.inputs.size(), false);
    for (std::size_t i = 0; i < wanted.size(); ++i) needed[node.edge_input[i]] = wanted[i];
    auto all = node.pullback(dy, needed);
    for (std::size_t i = 0; i < wanted.size(); ++i) {
      if (wanted[i]) result[i] = std::move(all[node.edge_input[i]]);
    }
    return result;
  }
  Tensor y;
  if (node.y) y = create_graph ? with_history(*node.y, node) : *node.y;
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    if (wanted[i]) result[i] = (*node.edges[i].vjp)(y, dy);
  }
  return result;
}

void check_usable(const Node& node) {
  if (node.freed) {
    fail<GradError>(
        "{}: its graph was freed by an earlier backward; pass retain_graph = true there", node.op);
  }
}

void check_unchanged(const Node& node) {
  for (const SavedVersion& saved : node.saved) {
    if (saved.changed()) {
      fail<GradError>("{}: an input or the output was changed after the forward pass", node.op);
    }
  }
}

// The part of the graph that gradients flow through.
struct Paths {
  std::unordered_set<Node*> nodes;            // from which a target can be reached
  std::unordered_map<Node*, int> to_receive;  // gradients that a parameter among them will get
};

Paths paths_to(Node* root, const std::unordered_set<Node*>& targets) {
  Paths paths;
  traverse(
      root,
      [&](Node* node) {
        check_usable(*node);
        if (targets.contains(node)) paths.nodes.insert(node);
      },
      [&](Node* node) {
        for (const auto& edge : node->edges) {
          if (!paths.nodes.contains(edge.from.get())) continue;
          paths.nodes.insert(node);
          if (edge.from->is_parameter()) ++paths.to_receive[edge.from.get()];
        }
      });
  return paths;
}

// a += b, for two tensors of one kind and shape.
void add_in_place(Tensor& a, const Tensor& b) {
  if (b.numel() == 0) return;
  kernel::Broadcast one_axis;
  one_axis.rank = 1;
  one_axis.size[0] = b.numel();
  one_axis.step[0][0] = one_axis.step[1][0] = 1;
  launch<kernel::Binary<kernel::Add>>(
      a.device(), {a.raw(), b.raw(), a.mutable_raw(), one_axis, b.numel(), b.dtype()});
}

// Sums the gradients of a tensor with several readers. Where nobody else holds one of the two it
// becomes the sum, in place: a + b has the bits of b + a.
void accumulate(Tensor& sum_so_far, Tensor dx) {
  if (!sum_so_far.defined()) {
    sum_so_far = std::move(dx);
    return;
  }
  if (!sum_so_far.is_unique()) std::swap(sum_so_far, dx);
  if (grad_enabled() || !sum_so_far.is_unique()) {
    sum_so_far = add(sum_so_far, dx);
  } else {
    expect_same_kind("backward", {{"gradient", sum_so_far}, {"its increment", dx}});
    add_in_place(sum_so_far, dx);
  }
}

// Adds to a parameter's gradient, in place when it has one: flat buffers stay where they are. A
// first one that a vjp may have handed to several inputs is copied.
void accumulate_grad(Tensor& slot, Tensor g) {
  if (!slot.defined()) {
    slot = g.is_unique() ? std::move(g) : g.clone();
    return;
  }
  expect_same_kind("backward", {{"gradient", slot}, {"its increment", g}});
  expect_shape("backward", "the gradient's increment", g, slot.shape());
  add_in_place(slot, g);
}

// One pass from the loss to the targets. `deliver` gets each target's whole gradient as soon as it
// is known: a parameter's before the rest of the pass, which so does not hold a second copy of all
// of them. What is held at any time is the gradients of tensors whose readers are not all done.
class BackwardPass {
 public:
  using Deliver = std::function<void(const std::shared_ptr<Node>& target, Tensor gradient)>;

  BackwardPass(const Tensor& loss, const std::unordered_set<Node*>& targets,
               const GradOptions& options, Deliver deliver)
      : root_(loss.node()),
        targets_(targets),
        options_(options),
        deliver_(std::move(deliver)),
        paths_(paths_to(root_.get(), targets)) {}

  void run(Tensor dy) {
    const profile::Scope scope("backward", profile::Phase::backward);
    if (!paths_.nodes.contains(root_.get())) return;
    receive(root_, std::move(dy));
    while (!queue_.empty()) {
      const std::shared_ptr<Node> node = queue_.top();
      queue_.pop();
      step(*node, std::move(gradients_.extract(node.get()).mapped()));
    }
  }

 private:
  struct ById {
    bool operator()(const std::shared_ptr<Node>& a, const std::shared_ptr<Node>& b) const {
      return a->id < b->id;
    }
  };

  // Adds to the gradient of a node's output.
  void receive(const std::shared_ptr<Node>& node, Tensor dy) {
    const auto [place, fresh] = gradients_.try_emplace(node.get());
    accumulate(place->second, std::move(dy));
    if (!node->is_parameter()) {
      if (fresh) queue_.push(node);
    } else if (--paths_.to_receive[node.get()] <= 0) {
      deliver_(node, std::move(gradients_.extract(node.get()).mapped()));
    }
  }

  // Pulls the gradient of a node's output back to its inputs, and frees what the node kept.
  void step(Node& node, Tensor dy) {
    if (targets_.contains(&node)) deliver_(node.shared_from_this(), dy);
    std::vector<bool> wanted;
    bool any = false;
    for (const auto& edge : node.edges) {
      wanted.push_back(paths_.nodes.contains(edge.from.get()));
      any = any || wanted.back();
    }
    if (!any) return;
    check_unchanged(node);
    const profile::Scope scope(node.layer, profile::Phase::backward);
    auto dx = pull_back(node, dy, wanted, options_.create_graph);
    dy = Tensor();
    for (std::size_t i = 0; i < wanted.size(); ++i) {
      if (!wanted[i]) continue;
      const auto& edge = node.edges[i];
      receive(edge.from, sum_to_shape(node.op, std::move(dx[i]), edge.shape));
    }
    if (!options_.retain_graph && !options_.create_graph) {
      node.release();
      node.freed = true;
    }
  }

  std::shared_ptr<Node> root_;
  const std::unordered_set<Node*>& targets_;
  const GradOptions& options_;
  Deliver deliver_;
  Paths paths_;
  std::unordered_map<Node*, Tensor> gradients_;
  std::priority_queue<std::shared_ptr<Node>, std::vector<std::shared_ptr<Node>>, ById> queue_;
};

Tensor seed_of(const Tensor& loss, const Tensor& seed) {
  expect_defined("grad", "loss", loss);
  if (loss.node() == nullptr) {
    fail<GradError>("grad: the loss does not depend on a parameter; got loss {}", loss.str());
  }
  if (seed.defined()) {
    expect_shape("grad", "seed", seed, loss.shape());
    expect_same_kind("grad", {{"loss", loss}, {"seed", seed}});
    return seed;
  }
  if (loss.numel() != 1) {
    fail<GradError>("grad: a loss of more than one element needs a seed; got loss {}", loss.str());
  }
  return Tensor::full(loss.shape(), 1.0, loss.dtype(), loss.device());
}

}  // namespace

Tensor record(const char* op, Tensor y, std::vector<InputVjp> inputs) {
  if (!grad_enabled()) return y;
  std::vector<SavedVersion> saved;
  for (const InputVjp& i : inputs) {
    if (i.input.defined()) saved.push_back(SavedVersion(i.input));
  }
  std::erase_if(inputs, [](const InputVjp& i) { return !wants_record(i.input); });
  if (inputs.empty()) return y;
  auto node = std::make_shared<Node>();
  node->op = op;
  bool needs_y = false;
  for (auto& [input, vjp] : inputs) {
    needs_y = needs_y || vjp.needs_y();
    node->edges.push_back({input.node(), input.shape(), std::move(vjp)});
  }
  if (needs_y) {
    node->y = y.view();
    saved.push_back(SavedVersion(y));
  }
  node->saved = std::move(saved);
  return attach(std::move(y), std::move(node));
}

Tensor record_fused(const char* op, Tensor y, const std::vector<Tensor>& inputs,
                    Reference reference, Pullback pullback) {
  if (!grad_enabled()) return y;
  auto node = std::make_shared<Node>();
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    if (inputs[i].defined()) node->saved.push_back(SavedVersion(inputs[i]));
    if (!wants_record(inputs[i])) continue;
    node->edges.push_back({inputs[i].node(), inputs[i].shape(), {}});
    node->edge_input.push_back(i);
  }
  if (node->edges.empty()) return y;
  node->op = op;
  node->saved.push_back(SavedVersion(y));
  node->inputs = inputs;
  node->reference = std::move(reference);
  node->pullback = std::move(pullback);
  return attach(std::move(y), std::move(node));
}

Tensor parameter(Tensor t) {
  expect_floating("parameter", "t", t);
  auto node = std::make_shared<Node>();
  node->grad_slot = t.grad_slot();
  t.set_node(std::move(node));
  return t;
}

bool requires_grad(const Tensor& t) { return t.node() != nullptr; }

Tensor detach(const Tensor& t) { return t.view(); }

std::vector<Tensor> grad(const Tensor& loss, const std::vector<Tensor>& inputs, GradOptions options,
                         const Tensor& seed) {
  Tensor dy = seed_of(loss, seed);
  std::unordered_set<Node*> targets;
  for (const Tensor& x : inputs) {
    expect_defined("grad", "input", x);
    if (x.node() == nullptr) {
      fail<GradError>("grad: an input is no parameter and has no history; got input {}", x.str());
    }
    targets.insert(x.node().get());
  }
  const EnableGrad scope(options.create_graph);
  std::unordered_map<Node*, Tensor> found;
  BackwardPass pass(loss, targets, options, [&](const std::shared_ptr<Node>& node, Tensor g) {
    found.emplace(node.get(), std::move(g));
  });
  pass.run(std::move(dy));
  std::vector<Tensor> result;
  for (const Tensor& x : inputs) {
    const auto at = found.find(x.node().get());
    result.push_back(at != found.end() ? at->second : zeros_like(x));
  }
  return result;
}

void backward(const Tensor& loss, GradOptions options, const Tensor& seed) {
  if (options.create_graph) {
    fail<GradError>(
        "backward: a stored gradient with history would keep its own graph alive for ever; "
        "use grad() with create_graph");
  }
  Tensor dy = seed_of(loss, seed);
  std::unordered_set<Node*> parameters;
  traverse(
      loss.node().get(),
      [&](Node* node) {
        check_usable(*node);
        if (node->is_parameter()) parameters.insert(node);
      },
      [](Node*) {});
  const NoGrad off;
  BackwardPass pass(loss, parameters, options, [](const std::shared_ptr<Node>& node, Tensor g) {
    accumulate_grad(*node->grad_slot, std::move(g));
  });
  pass.run(std::move(dy));
}

}  // namespace ito
