// Which rung of attention's ladder a call takes: tensor cores for bf16, tiles in f32, and one warp
// per row only for heads of more than 256 channels.
#include "cuda/attention.h"

namespace ito {
namespace {

template <class Args>
void best(const Args& args) {
  if (cuda::attention::can_use_tensor_core(args)) return cuda::attention::tensor_core(args);
  if (cuda::attention::can_use_tiled(args)) return cuda::attention::tiled(args);
  cuda::attention::naive(args);
}

}  // namespace

void kernel::Attention::cuda(const Args& args) { best(args); }
void kernel::AttentionGrad::cuda(const Args& args) { best(args); }

}  // namespace ito
