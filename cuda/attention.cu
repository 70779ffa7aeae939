// Which rung of attention's ladder a call takes.
#include "cuda/attention.h"

namespace ito {

void kernel::Attention::cuda(const Args& args) { cuda::attention::naive(args); }

void kernel::AttentionGrad::cuda(const Args& args) { cuda::attention::naive(args); }

}  // namespace ito
