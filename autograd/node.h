// Internal to autograd/: what one recorded operation holds, and their traversal. Users
// include autograd/engine.h.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <unordered_set>
#include <utility>
#include <vector>

#include "autograd/engine.h"

namespace ito {

/// A tensor's storage as it was during the forward pass.
struct SavedVersion {
  std::weak_ptr<Storage> storage;
  std::uint64_t version;

  explicit SavedVersion(const Tensor& t) : storage(t.storage()), version(t.storage()->version) {}
  /// Whether it was written to since. Storage that is gone cannot have been kept by a vjp.
  bool changed() const {
    const auto s = storage.lock();
    return s && s->version != version;
  }
};

/// One recorded operation, or a parameter (op == nullptr, no edges).
struct Node : std::enable_shared_from_this<Node> {
  struct Edge {
    std::shared_ptr<Node> from;  // how the input was made
    Shape shape;
    std::optional<VjpRule> vjp;  // none for fused ops
  };

  const char* op = nullptr;
  const char* layer;  // what a profile calls the layer that made it, or null
  std::uint64_t id;   // grows from inputs to outputs: a topological order
  std::vector<Edge> edges;
  std::vector<SavedVersion> saved;  // of y and every input, with gradient or not: what vjps keep
  bool freed = false;
  std::optional<Tensor> y;  // the output, without history, when a vjp takes it
  // Fused ops:
  std::vector<Tensor> inputs;
  std::vector<std::size_t> edge_input;  // edge i belongs to inputs[edge_input[i]]
  Reference reference;
  Pullback pullback;
  // Parameters: where backward() leaves the gradient.
  std::shared_ptr<Tensor> grad_slot;

  Node();
  ~Node();
  Node(const Node&) = delete;
  Node& operator=(const Node&) = delete;

  bool is_parameter() const { return op == nullptr; }
  /// Frees what the node holds.
  void release();
  /// The id that the next node will get.
  static std::uint64_t next_id();
};

/// Calls `enter(node)` when the traversal from `root` towards the inputs reaches a node, and
/// `leave(node)` after everything behind it; each node once. Does not go behind a node in
/// `visited`. A loop, because graphs may be deeper than the stack.
template <class Enter, class Leave>
void traverse(Node* root, Enter enter, Leave leave, std::unordered_set<Node*> visited = {}) {
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

}  // namespace ito
