// The contracts of tensor/kernels/conv.h on the device: which rung computes what.
#include "cuda/conv.h"

namespace ito::kernel {

void Conv2d::cuda(const Args& args) { cuda::conv::naive(args); }
void Conv2dInputGrad::cuda(const Args& args) { cuda::conv::naive(args); }
void Conv2dWeightGrad::cuda(const Args& args) { cuda::conv::naive(args); }

}  // namespace ito::kernel
