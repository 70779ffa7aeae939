#include "examples/app/codec_model.h"

#include <cstdlib>
#include <utility>

#include "autograd/ops/indexing.h"
#include "diffusion/codec/diffusion_codec.h"
#include "examples/app/exit_codes.h"

namespace ito::app {

CodecModel over_sent_timesteps(LoadedModel loaded, std::int64_t steps, Device device) {
  const GaussianDiffusion full = loaded.process();
  if (steps > full.schedule.timesteps()) {
    stop(ExitCode::usage, "--steps must be at most {}, the timesteps of this model; got {}",
         full.schedule.timesteps(), steps);
  }
  const auto visited = codec::timesteps_to_send(full.schedule.timesteps(), steps);
  const Tensor t_of = Tensor::from(visited, {steps}).to(device);
  const auto network = loaded.denoiser();
  const std::uint64_t fingerprint = std::strtoull(loaded.fingerprint.c_str(), nullptr, 16);
  return {std::move(loaded),
          {full.schedule.respaced(visited), full.prediction},
          [network, t_of](const Tensor& x, const Tensor& t) { return network(x, gather(t_of, t)); },
          fingerprint};
}

}  // namespace ito::app
