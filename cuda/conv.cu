// The contracts of tensor/kernels/conv.h on the device: which rung computes what.
#include "cuda/conv.h"

namespace ito::cuda::conv {
namespace {

template <class Args>
void best(const Args& args) {
  if (!can_use_tiles(args.shape)) {
    naive(args);
  } else if (args.dtype == DType::bf16) {
    tensor_core(args);
  } else {
    tiled(args);
  }
}

}  // namespace
}  // namespace ito::cuda::conv

namespace ito::kernel {

void Conv2d::cuda(const Args& args) { cuda::conv::best(args); }
void Conv2dInputGrad::cuda(const Args& args) { cuda::conv::best(args); }
void Conv2dWeightGrad::cuda(const Args& args) { cuda::conv::best(args); }

}  // namespace ito::kernel
