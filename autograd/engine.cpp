#include "autograd/engine.h"

#include <atomic>
#include <optional>
#include <queue>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "autograd/ops/elementwise.h"
#include "autograd/ops/layout.h"
#include "autograd/ops/reduce.h"
#include "tensor/check.h"

namespace ito {
namespace {

thread_local bool recording_on = true;
std::atomic<std::uint64_t> next_id{0};
std::atomic<std::int64_t> node_count{0};

// An input's storage as it was during the forward pass.
struct Seen {
  std::weak_ptr<Storage> storage;
  std::uint64_t version = 0;
  explicit Seen(const Tensor& t) : storage(t.storage()), version(t.storage()->version) {}
  bool changed() const {
    const auto s = storage.lock();
    return s && s->version != version;
  }
};

}  // namespace

// One recorded operation, or a parameter (op == nullptr, no edges).
struct Node : std::enable_shared_from_this<Node> {
  struct Edge {
    std::shared_ptr<Node> from;  // how the input was made
    Shape shape;
    Seen seen;
    std::optional<Rule> rule;  // none for fused ops
  };

  const char* op = nullptr;
  std::uint64_t id = next_id++;  // grows from inputs to outputs: a topological order
  std::vector<Edge> edges;
  bool freed = false;
  std::optional<Tensor> y;  // the output, without history, when a rule wants it
  // Fused ops:
  std::vector<Tensor> inputs;
  std::vector<std::size_t> edge_input;  // edge i belongs to inputs[edge_input[i]]
  Reference reference;
  Pullback pullback;
  // Parameters: where backward() leaves the gradient.
  std::shared_ptr<Tensor> grad_slot;

  Node() { ++node_count; }
  ~Node() {
    --node_count;
    dismantle();
  }
  bool is_parameter() const { return op == nullptr; }

  // Frees what the node holds. Chains of nodes are freed by a loop, not by recursion: a node that
  // is destroyed while another is being dismantled only hands over its members.
  void dismantle() {
    struct Remains {
      std::vector<Edge> edges;
      std::vector<Tensor> inputs;
      Reference reference;
      Pullback pullback;
    };
    thread_local std::vector<Remains>* pending = nullptr;
    Remains mine{std::exchange(edges, {}), std::exchange(inputs, {}),
                 std::exchange(reference, nullptr), std::exchange(pullback, nullptr)};
    y.reset();
    if (pending != nullptr) {
      pending->push_back(std::move(mine));
      return;
    }
    std::vector<Remains> list;
    pending = &list;
    list.push_back(std::move(mine));
    while (!list.empty()) {
      const Remains last = std::move(list.back());
      list.pop_back();
    }  // `last` dies here and may push to the list
    pending = nullptr;
  }
};

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
  for (std::size_t i = 0; i < node.edges.size(); ++i) {
    if (node.edges[i].seen.changed()) {
      fail<GradError>("{}: input {} {} was changed after the forward pass", node.op, i,
                      node.edges[i].shape.str());
    }
  }
}

// Calls `enter(node)` when the walk from `root` towards the inputs reaches a node, and
// `leave(node)` after everything behind it. Each node once; without recursion.
template <class Enter, class Leave>
void walk(Node* root, Enter enter, Leave leave) {
  std::unordered_set<Node*> visited;
  std::vector<std::pair<Node*, bool>> stack{{root, false}};
  while (!stack.empty()) {
    const auto [node, expanded] = stack.back();
    stack.pop_back();
    if (!expanded) {
      if (!visited.insert(node).second) continue;
      enter(node);
      stack.push_back({node, true});
      for (const auto& edge : node->edges) stack.push_back({edge.from.get(), false});
    } else {
      leave(node);
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
void accumulate_grad(Tensor& slot, const Tensor& g, bool create_graph) {
  if (create_graph) {
    slot = slot.defined() ? add(slot, g) : g;
  } else if (!slot.defined()) {
    slot = g.clone();
  } else {
    slot.assign(add(slot, g));
  }
}

// Runs the rules from the loss down to the targets; returns the targets' gradients.
std::unordered_map<Node*, Tensor> run(const Tensor& loss, Tensor dy,
                                      const std::unordered_set<Node*>& targets,
                                      const GradOptions& options) {
  struct ById {
    bool operator()(const std::shared_ptr<Node>& a, const std::shared_ptr<Node>& b) const {
      return a->id < b->id;
    }
  };
  Node* root = loss.node().get();
  const auto on_path = nodes_on_path(root, targets);
  std::unordered_map<Node*, Tensor> gradients, found;
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
    if (targets.contains(node.get())) found.emplace(node.get(), g);
    std::vector<bool> wanted;
    bool any = false;
    for (const auto& edge : node->edges) {
      wanted.push_back(on_path.contains(edge.from.get()));
      any = any || wanted.back();
    }
    if (!any) continue;
    check_unchanged(*node);
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

// Recording on or off for a scope.
struct Recording {
  bool previous = recording_on;
  explicit Recording(bool on) { recording_on = on; }
  ~Recording() { recording_on = previous; }
};

}  // namespace

Tensor record(const char* op, Tensor y, std::vector<InputRule> inputs) {
  if (!recording_on) return y;
  std::erase_if(inputs, [](const InputRule& i) { return !wants_record(i.input); });
  if (inputs.empty()) return y;
  auto node = std::make_shared<Node>();
  node->op = op;
  bool needs_y = false;
  for (auto& [input, rule] : inputs) {
    needs_y = needs_y || rule.needs_y();
    node->edges.push_back({input.node(), input.shape(), Seen(input), std::move(rule)});
  }
  if (needs_y) node->y = y.alias();
  return attach(std::move(y), std::move(node));
}

Tensor record_fused(const char* op, Tensor y, const std::vector<Tensor>& inputs,
                    Reference reference, Pullback pullback) {
  if (!recording_on) return y;
  auto node = std::make_shared<Node>();
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    if (!wants_record(inputs[i])) continue;
    node->edges.push_back({inputs[i].node(), inputs[i].shape(), Seen(inputs[i]), {}});
    node->edge_input.push_back(i);
  }
  if (node->edges.empty()) return y;
  node->op = op;
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
    result.push_back(at != found.end() ? at->second
                                       : Tensor::zeros(x.shape(), x.dtype(), x.device()));
  }
  return result;
}

void backward(const Tensor& loss, GradOptions options, const Tensor& seed) {
  Tensor dy = seed_of(loss, seed);
  std::unordered_set<Node*> parameters;
  walk(
      loss.node().get(),
      [&](Node* node) {
        check_usable(*node);
        if (node->is_parameter()) parameters.insert(node);
      },
      [](Node*) {});
  const Recording scope(options.create_graph);
  for (auto& [node, g] : run(loss, std::move(dy), parameters, options)) {
    accumulate_grad(*node->grad_slot, g, options.create_graph);
  }
}

Tensor checkpoint(const Reference& f, const std::vector<Tensor>& inputs) {
  Tensor y;
  {
    const NoGrad off;
    y = detach(f(inputs));
  }
  return record_fused(
      "checkpoint", y, inputs, f, [f, inputs](const Tensor& dy, const std::vector<bool>& needed) {
        const Recording scope(true);
        const std::uint64_t first_id = next_id;
        std::vector<Tensor> fresh, wanted;
        for (std::size_t i = 0; i < inputs.size(); ++i) {
          fresh.push_back(!inputs[i].defined() ? Tensor()
                          : needed[i]          ? parameter(detach(inputs[i]))
                                               : detach(inputs[i]));
          if (needed[i]) wanted.push_back(fresh.back());
        }
        const Tensor again = f(fresh);
        if (again.node() == nullptr)
          fail<GradError>("checkpoint: f is not a function of its inputs");
        walk(
            again.node().get(),
            [&](Node* node) {
              if (node->id < first_id) {
                fail<GradError>("checkpoint: f uses a {} that is not among its inputs",
                                node->is_parameter() ? "parameter" : "tensor with history");
              }
            },
            [](Node*) {});
        auto gradients = grad(again, wanted, {}, dy);
        std::vector<Tensor> result(inputs.size());
        for (std::size_t i = inputs.size(); i-- > 0;) {
          if (!needed[i]) continue;
          result[i] = std::move(gradients.back());
          gradients.pop_back();
        }
        return result;
      });
}

NoGrad::NoGrad() : previous_(recording_on) { recording_on = false; }
NoGrad::~NoGrad() { recording_on = previous_; }
bool recording() { return recording_on; }

std::int64_t live_nodes() { return node_count; }

}  // namespace ito
