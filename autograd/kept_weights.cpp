#include "autograd/kept_weights.h"

#include <unordered_map>

#include "autograd/node.h"

namespace ito {
namespace {

struct Kept {
  std::shared_ptr<Storage> storage;  // held, so that no other tensor gets its address
  std::uint64_t version = 0;         // of the storage when the forms were made
  kernel::WeightForms forms;
};

struct KeptWeights {
  int scopes = 0;
  std::unordered_map<const void*, Kept> entries;  // by the address of the first element
};
thread_local KeptWeights kept_weights;

}  // namespace

KeepWeights::KeepWeights() { ++kept_weights.scopes; }

KeepWeights::~KeepWeights() {
  if (--kept_weights.scopes == 0) kept_weights.entries.clear();
}

kernel::WeightForms* forms_of(const Tensor& weight, std::int64_t rows) {
  const bool parameter = weight.node() != nullptr && weight.node()->is_parameter();
  if (kept_weights.scopes == 0 || rows > max_kept_rows || !parameter) return nullptr;
  if (!weight.device().is_cpu()) return nullptr;
  Kept& kept = kept_weights.entries[weight.raw()];
  if (kept.storage != weight.storage() || kept.version != weight.storage()->version) {
    kept = {weight.storage(), weight.storage()->version, {}};
  }
  return &kept.forms;
}

}  // namespace ito
