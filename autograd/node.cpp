#include "autograd/node.h"

#include <atomic>

#include "tensor/profile.h"

namespace ito {
namespace {

thread_local bool recording_on = true;
std::atomic<std::uint64_t> counter{0};
std::atomic<std::int64_t> node_count{0};

}  // namespace

Node::Node() : layer(profile::current_layer()), id(counter++) { ++node_count; }

Node::~Node() {
  --node_count;
  release();
}

std::uint64_t Node::next_id() { return counter; }

// Chains of nodes are freed by a loop, not by recursion: a node that is destroyed while another is
// being dismantled only hands over its members.
void Node::release() {
  struct Remains {
    std::vector<Edge> edges;
    std::vector<Tensor> inputs;
    Reference reference;
    Pullback pullback;
  };
  thread_local std::vector<Remains>* pending = nullptr;
  Remains mine{std::exchange(edges, {}), std::exchange(inputs, {}),
               std::exchange(reference, nullptr), std::exchange(pullback, nullptr)};
  saved.clear();
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

EnableGrad::EnableGrad(bool on) : previous_(std::exchange(recording_on, on)) {}
EnableGrad::~EnableGrad() { recording_on = previous_; }
bool grad_enabled() { return recording_on; }

std::int64_t live_nodes() { return node_count; }

}  // namespace ito
