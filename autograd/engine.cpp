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
  return attach(y.alias(), node.shared_from_this());
}

// dx summed over the axes along which the input was broadcast.
Tensor sum_to_shape(const char* op, const Tensor& dx, const Shape& shape) {
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
  return record("identity", x.alias(), {{x, [](const Tensor& dy) { return dy; }}});
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
    if (wanted[i]) result[i] = (*node.edges[i].rule)(y, dy);
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
  for (const Seen& seen : node.seen) {
    if (seen.changed()) {
      fail<GradError>("{}: an input or the output was changed after the forward pass", node.op);
    }
  }
}

// Nodes from which a target can be reached.
std::unordered_set<Node*> nodes_on_path(Node* root, const std::unordered_set<Node*>& targets) {
  std::unordered_set<Node*> on_path;
  walk(
      root,
      [&](Node* node) {
        check_usable(*node);
        if (targets.contains(node)) on_path.insert(node);
      },
      [&](Node* node) {
        for (const auto& edge : node->edges) {
          if (on_path.contains(edge.from.get())) on_path.insert(node);
        }
      });
  return on_path;
}

void accumulate(Tensor& sum_so_far, Tensor dx) {
  sum_so_far = sum_so_far.defined() ? add(sum_so_far, dx) : std::move(dx);
}

// Adds to a parameter's gradient, in place when it has one: flat buffers stay where they are. The
// first one is copied, because a rule may have handed the same tensor to several inputs.
void accumulate_grad(Tensor& slot, const Tensor& g) {
  if (!slot.defined()) {
    slot = g.clone();
    return;
  }
  expect_same_kind("backward", {{"gradient", slot}, {"its increment", g}});
  expect_shape("backward", "the gradient's increment", g, slot.shape());
  if (g.numel() == 0) return;
  kernel::Broadcast one_axis;
  one_axis.rank = 1;
  one_axis.size[0] = g.numel();
  one_axis.step[0][0] = one_axis.step[1][0] = 1;
  launch<kernel::Binary<kernel::Add>>(
      slot.device(), {slot.raw(), g.raw(), slot.mutable_raw(), one_axis, g.numel(), g.dtype()});
}

// A target's gradient. Holds the target, which may be owned by nothing but the graph being freed.
struct Found {
  std::shared_ptr<Node> node;
  Tensor gradient;
};

// Runs the rules from the loss down to the targets; returns the targets' gradients.
std::unordered_map<Node*, Found> run(const Tensor& loss, Tensor dy,
                                     const std::unordered_set<Node*>& targets,
                                     const GradOptions& options) {
  struct ById {
    bool operator()(const std::shared_ptr<Node>& a, const std::shared_ptr<Node>& b) const {
      return a->id < b->id;
    }
  };
  Node* root = loss.node().get();
  const auto on_path = nodes_on_path(root, targets);
  std::unordered_map<Node*, Tensor> gradients;
  std::unordered_map<Node*, Found> found;
  std::priority_queue<std::shared_ptr<Node>, std::vector<std::shared_ptr<Node>>, ById> queue;
  if (on_path.contains(root)) {
    queue.push(loss.node());
    gradients.emplace(root, std::move(dy));
  }
  while (!queue.empty()) {
    const std::shared_ptr<Node> node = queue.top();
    queue.pop();
    const auto entry = gradients.extract(node.get());
    const Tensor& g = entry.mapped();
    if (targets.contains(node.get())) found.emplace(node.get(), Found{node, g});
    std::vector<bool> wanted;
    bool any = false;
    for (const auto& edge : node->edges) {
      wanted.push_back(on_path.contains(edge.from.get()));
      any = any || wanted.back();
    }
    if (!any) continue;
    check_unchanged(*node);
    const profile::Scope scope(node->layer, profile::Phase::backward);
    auto dx = pull_back(*node, g, wanted, options.create_graph);
    for (std::size_t i = 0; i < wanted.size(); ++i) {
      if (!wanted[i]) continue;
      const auto& edge = node->edges[i];
      const auto [place, fresh] = gradients.try_emplace(edge.from.get());
      accumulate(place->second, sum_to_shape(node->op, dx[i], edge.shape));
      if (fresh) queue.push(edge.from);
    }
    if (!options.retain_graph && !options.create_graph) {
      node->dismantle();
      node->freed = true;
    }
  }
  return found;
}

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

Tensor record(const char* op, Tensor y, std::vector<InputRule> inputs) {
  if (!recording()) return y;
  std::vector<Seen> seen;
  for (const InputRule& i : inputs) {
    if (i.input.defined()) seen.push_back(Seen(i.input));
  }
  std::erase_if(inputs, [](const InputRule& i) { return !wants_record(i.input); });
  if (inputs.empty()) return y;
  auto node = std::make_shared<Node>();
  node->op = op;
  bool needs_y = false;
  for (auto& [input, rule] : inputs) {
    needs_y = needs_y || rule.needs_y();
    node->edges.push_back({input.node(), input.shape(), std::move(rule)});
  }
  if (needs_y) {
    node->y = y.alias();
    seen.push_back(Seen(y));
  }
  node->seen = std::move(seen);
  return attach(std::move(y), std::move(node));
}

Tensor record_fused(const char* op, Tensor y, const std::vector<Tensor>& inputs,
                    Reference reference, Pullback pullback) {
  if (!recording()) return y;
  auto node = std::make_shared<Node>();
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    if (inputs[i].defined()) node->seen.push_back(Seen(inputs[i]));
    if (!wants_record(inputs[i])) continue;
    node->edges.push_back({inputs[i].node(), inputs[i].shape(), {}});
    node->edge_input.push_back(i);
  }
  if (node->edges.empty()) return y;
  node->op = op;
  node->seen.push_back(Seen(y));
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

Tensor detach(const Tensor& t) { return t.alias(); }

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
  const Recording scope(options.create_graph);
  auto found = run(loss, std::move(dy), targets, options);
  std::vector<Tensor> result;
  for (const Tensor& x : inputs) {
    const auto at = found.find(x.node().get());
    result.push_back(at != found.end() ? at->second.gradient
                                       : Tensor::zeros(x.shape(), x.dtype(), x.device()));
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
  walk(
      loss.node().get(),
      [&](Node* node) {
        check_usable(*node);
        if (node->is_parameter()) parameters.insert(node);
      },
      [](Node*) {});
  const NoGrad off;
  for (auto& [node, found] : run(loss, std::move(dy), parameters, options)) {
    accumulate_grad(*node->grad_slot, found.gradient);
  }
}

}  // namespace ito
