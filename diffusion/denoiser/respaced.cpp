#include "diffusion/denoiser/respaced.h"

#include <utility>

#include "autograd/ops/indexing.h"

namespace ito {

Respaced respaced(const GaussianDiffusion& process, Denoiser model,
                  const std::vector<std::int64_t>& visited, Device device) {
  Respaced chain{process, {}};
  chain.process.schedule = process.schedule.respaced(visited);
  const Tensor timesteps =
      Tensor::from(visited, {static_cast<std::int64_t>(visited.size())}).to(device);
  chain.model = [timesteps, network = std::move(model)](const Tensor& x_t, const Tensor& i) {
    return network(x_t, gather(timesteps, i));
  };
  return chain;
}

}  // namespace ito
