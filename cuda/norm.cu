// Which rung of group norm's ladder a call takes: one read where the slab fits in shared memory,
// else three, and single elements only where a group is too wide for a block.
#include "cuda/norm.h"

namespace ito {
namespace {

template <class Args>
void best(const Args& args) {
  if (cuda::norm::can_use_slab(args)) return cuda::norm::slab(args);
  if (cuda::norm::can_use_streaming(args)) return cuda::norm::streaming(args);
  cuda::norm::naive(args);
}

}  // namespace

void kernel::GroupNorm::cuda(const Args& args) {
  if (args.shape.positions * args.shape.channels == 0) return;
  best(args);
}

void kernel::GroupNormGrad::cuda(const Args& args) {
  if (args.shape.channels == 0) return;
  if (args.shape.n * args.shape.positions == 0) return cuda::norm::naive(args);  // sums are zeros
  best(args);
}

}  // namespace ito
