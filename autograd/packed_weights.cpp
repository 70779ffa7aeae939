#include "autograd/packed_weights.h"

#include <unordered_map>

#include "autograd/node.h"

namespace ito {
namespace {

struct Kept {
  std::shared_ptr<Storage> storage;  // held, so that no other tensor gets its address
  std::uint64_t version = 0;         // of the storage when they were packed
  kernel::PackedWeights packed;
};

struct KeptWeights {
  int scopes = 0;
  std::unordered_map<const void*, Kept> entries;  // by the address of the first element
};
thread_local KeptWeights packed_weights;

}  // namespace

KeepPackedWeights::KeepPackedWeights() { ++packed_weights.scopes; }

KeepPackedWeights::~KeepPackedWeights() {
  if (--packed_weights.scopes == 0) packed_weights.entries.clear();
}

kernel::PackedWeights* packed_weights_of(const Tensor& weight, std::int64_t rows) {
  const bool parameter = weight.node() != nullptr && weight.node()->is_parameter();
  if (packed_weights.scopes == 0 || rows > max_kept_rows || !parameter) return nullptr;
  if (!weight.device().is_cpu()) return nullptr;
  Kept& kept = packed_weights.entries[weight.raw()];
  if (kept.storage != weight.storage() || kept.version != weight.storage()->version) {
    kept = {weight.storage(), weight.storage()->version, {}};
  }
  return &kept.packed;
}

}  // namespace ito
