// Images to bits and back with a diffusion model: Algorithms 3 (sending) and 4 (receiving) of Ho et
// al. 2020 (arXiv 2006.11239), with what the paper assumes of them: a way to send a sample.
//
//   const codec::Message message = codec::send(schedule, model, images);      // u8 [N, H, W, C]
//   const Tensor same = codec::receive(schedule, model, message);             // every byte of them
//
//   Algorithm 3                                        Algorithm 4
//     send x_T ~ q(x_T | x_0) using p(x_T)               receive x_T
//     for t = T - 1, ..., 1:                             for t = T - 1, ..., 1:
//       send x_t ~ q(x_t | x_{t+1}, x_0)                   receive x_t using p(x_t | x_{t+1})
//           using p(x_t | x_{t+1})
//     send x_0 using p(x_0 | x_1)                        receive x_0
//
// A sample costs its divergence KL(q || p) and a few bits per block (sample_coder.h), the bytes of
// x_0 cost -log2 of their probability (pixel_coder.h); together that is the variational bound, and
// what the blocks cost above it. Steps of less than a bit cost several times that: send with a
// schedule of some 30 to 60 timesteps (timesteps_to_send), not of 1000.
//
// Both sides must compute the same bits, so both need the same network, build, kind of machine and
// device; probe() tells. The number of threads does not matter. Images are sent in groups because
// the bits of a network's output may depend on how many images it is given.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "diffusion/denoiser/parametrization.h"
#include "diffusion/process/reverse_variance.h"
#include "diffusion/process/schedule.h"

namespace ito::codec {

/// What sender and receiver must agree on, besides the schedule and the network.
struct Settings {
  std::uint64_t seed = 0;   ///< of the candidates, which both draw
  std::int64_t group = 16;  ///< images that the network is given at a time
  /// Of p(x_{t-1} | x_t). analytic: the best for each image and step, as one of 16 numbers from
  /// beta_tilde to beta, which the sender finds out and sends. For x_0 as in VariationalBound.
  ReverseVariance variance = ReverseVariance::analytic;
  /// The last timestep whose x_t is sent: the result is the network's estimate of x_0 from it. -1:
  /// x_0 itself is sent too, and the result is exact.
  std::int64_t last = -1;
};

struct Message {
  Settings settings;
  Shape shape;  ///< of the images, [N, H, W, C]
  std::vector<std::uint8_t> bytes;
};

/// What has been sent of a group of images when x_t is known.
struct Progress {
  std::int64_t t;             ///< from T - 1 down to 0; -1: x_0 itself
  std::int64_t first, count;  ///< which images
  double divergence;          ///< sum of KL(q || p) so far, with t = -1 also -log2 p of the bytes
  double bits;                ///< sent so far
  std::int64_t blocks;        ///< of samples, sent so far
  double mean_square;         ///< error of the estimate of x_0 in [-1, 1], per element
};

/// What only the sender chooses.
struct SendOptions {
  /// Divergence of a block, about. Larger ones waste less of the message and take exponentially
  /// longer to send: 2^(block_bits + 4) candidates each. Above 0, at most 16.
  double block_bits = 10.0;
  /// Called for each group and timestep.
  std::function<void(const Progress&)> observer = {};
};

/// Algorithm 3. `images` is u8 [N, H, W, C] on the CPU; the network runs on `device`. Throws
/// ShapeError, DTypeError, ValueError, and whatever the model throws.
Message send(const NoiseSchedule& schedule, const Denoiser& model, const Tensor& images,
             const Settings& settings = {}, const SendOptions& options = {},
             Device device = Device::cpu());

/// Algorithm 4: u8 [N, H, W, C]. Throws FormatError for bytes that end early or go on; damage that
/// keeps the length gives wrong images (container.h adds checksums).
Tensor receive(const NoiseSchedule& schedule, const Denoiser& model, const Message& message,
               Device device = Device::cpu());

/// A number that differs when the network computes other bits: of another model, build, machine or
/// device. `shape` is that of one image, [1, H, W, C].
std::uint32_t probe(const NoiseSchedule& schedule, const Denoiser& model, const Shape& shape,
                    Device device = Device::cpu());

}  // namespace ito::codec
