#include "diffusion/likelihood/codec/diffusion_codec.h"

#include <zlib.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "autograd/engine.h"
#include "autograd/ops/elementwise.h"
#include "autograd/ops/layout.h"
#include "autograd/ops/reduce.h"
#include "diffusion/denoiser/thresholding.h"
#include "diffusion/likelihood/codec/block_coder.h"
#include "diffusion/likelihood/codec/pixel_coder.h"
#include "diffusion/likelihood/codec/range_coder.h"
#include "diffusion/likelihood/variational_bound.h"
#include "tensor/check.h"

namespace ito::codec {
namespace {

constexpr int max_level = 15;  // of a variance, see Chain::deviation

using Observer = std::function<void(const Progress&)>;

// t for every sample of the batch x.
Tensor same_timestep(std::int64_t t, const Tensor& x) {
  return Tensor::full({x.size(0)}, static_cast<double>(t), DType::i64, x.device());
}

// A normal distribution of images; the deviation broadcasts against the mean.
struct Normal {
  Tensor mean, deviation;
};

// The reverse process that both ends walk.
struct Chain {
  const NoiseSchedule& schedule;
  Denoiser model;
  const Settings& settings;
  Device device;
  VariationalBound bound;

  Chain(const NoiseSchedule& chain, const Denoiser& m, const Settings& s, Device where)
      : schedule(chain),
        model(thresholded(m, clip_x0)),
        settings(s),
        device(where),
        bound(chain, bound_options(s), DType::f32, where) {}

  std::int64_t timesteps() const { return schedule.timesteps(); }
  bool exact() const { return settings.last < 0; }
  std::int64_t end() const { return std::max<std::int64_t>(settings.last, 0); }
  bool sends_levels() const { return settings.variance == ReverseVariance::analytic; }

  ReverseStep reverse_step(const Tensor& x_t, std::int64_t t) const {
    return bound.reverse_step(model, x_t, same_timestep(t, x_t));
  }
  // p(x_{t-1} | x_t), with the variance of each image's level when levels are sent.
  Normal p(const ReverseStep& step, std::int64_t t, const std::vector<int>& levels) const {
    if (!sends_levels()) return {step.mean, exp(0.5 * step.log_variance)};
    std::vector<float> sigma;
    for (const int level : levels) {
      sigma.push_back(static_cast<float>(std::exp(0.5 * log_variance(t, level))));
    }
    return {step.mean, Tensor::from(sigma, {step.mean.size(0), 1, 1, 1}).to(device)};
  }
  // level / max_level of the way from log beta_tilde to log beta.
  double log_variance(std::int64_t t, int level) const {
    const double share = static_cast<double>(level) / max_level;
    return share * std::log(schedule.beta(t)) + (1.0 - share) * std::log(schedule.beta_tilde(t));
  }
  // q(x_{t-1} | x_t, x_0).
  Normal q(const Tensor& x0, const Tensor& x_t, std::int64_t t) const {
    const PosteriorStep q = posterior_step(schedule.level(t), schedule.level(t - 1));
    return {scalar(q.weight_x0) * x0 + scalar(q.weight_x_t) * x_t, sqrt(scalar(q.variance))};
  }
  // p(x_T) and q(x_T | x_0).
  Normal prior() const { return {scalar(0.0), scalar(1.0)}; }
  Normal q_prior(const Tensor& x0) const {
    const Level last = schedule.level(timesteps() - 1);
    return {x0 * last.alpha, scalar(last.sigma)};
  }
  // Where the candidates of x_t lie, of the image with this number, of d elements.
  std::uint64_t place(std::int64_t image, std::int64_t t, std::int64_t d) const {
    return static_cast<std::uint64_t>((image * timesteps() + t + 1) * d);
  }

 private:
  static BoundOptions bound_options(const Settings& s) {
    const bool levels = s.variance == ReverseVariance::analytic;
    return {.variance = levels ? ReverseVariance::beta_tilde : s.variance};
  }
  Tensor scalar(double value) const { return Tensor::scalar(value, DType::f32, device); }
};

// The bytes of x_0 as p(x_0 | x_1) tells them.
std::vector<PixelCoder> pixels_of(const ReverseStep& step) {
  const auto mean = step.mean.to_vector<float>();
  const auto log_variance = expand(step.log_variance, step.mean.shape()).to_vector<float>();
  std::vector<PixelCoder> pixels;
  for (std::size_t i = 0; i < mean.size(); ++i) {
    pixels.emplace_back(mean[i], std::exp(0.5 * double{log_variance[i]}));
  }
  return pixels;
}

// One end of the line: a RangeEncoder or a RangeDecoder, and what it has learned.
template <class Coder>
struct End {
  Coder& coder;
  BlockCoder<Coder> blocks;
  std::array<NibbleModel, max_level + 1> level_after = {};  // by the level of the step before

  End(Coder& c, const Settings& settings, std::int64_t elements, double block_bits = 1.0)
      : coder(c), blocks(c, settings.seed, elements, block_bits) {}

  // The levels of a group's images for the next step; `levels` are those of the step before, and
  // `wanted` those to send.
  void code_levels(const Chain& chain, std::vector<int>& levels, const std::vector<int>& wanted) {
    if (!chain.sends_levels()) return;
    for (std::size_t n = 0; n < levels.size(); ++n) {
      NibbleModel& model = level_after[static_cast<std::size_t>(levels[n])];
      levels[n] = code_nibble(coder, model, wanted.empty() ? 0 : wanted[n]);
    }
  }
};

// The level of each image whose variance v minimises KL(q || p): v = beta_tilde + the mean square
// of the distance between the means of q and p (Bao et al. 2022, arXiv 2201.06503).
std::vector<int> best_levels(const Chain& chain, const Tensor& q_mean, const Tensor& p_mean,
                             std::int64_t t) {
  const double low = chain.log_variance(t, 0), high = chain.log_variance(t, max_level);
  std::vector<int> levels;
  for (const float distance :
       mean(square(q_mean - p_mean), {1, 2, 3}).to(Device::cpu()).to_vector<float>()) {
    const double best = std::log(chain.schedule.beta_tilde(t) + double{distance});
    const double share = std::clamp((best - low) / (high - low), 0.0, 1.0);
    levels.push_back(static_cast<int>(std::lround(max_level * share)));
  }
  return levels;
}

// Algorithm 3 for a group of images, the first of which has number `first`.
void send_group(const Chain& chain, End<RangeEncoder>& line, const Tensor& images,
                std::int64_t first, const Observer& observe) {
  const Tensor x0 = (cast(images, DType::f32) / 127.5 - 1.0).to(chain.device);
  const std::int64_t N = x0.size(0), d = line.blocks.elements();
  const double bits_before = line.coder.bits();
  double divergence = 0.0;
  std::int64_t blocks = 0;
  std::vector<std::uint32_t> counts(static_cast<std::size_t>(N), 1);  // of blocks
  const auto send = [&](const Normal& q, const Normal& p, std::int64_t t) {
    const Tensor shift = ((q.mean - p.mean) / p.deviation).to(Device::cpu());
    const Tensor scale = expand(q.deviation / p.deviation, x0.shape()).to(Device::cpu());
    std::vector<float> z;
    for (std::int64_t n = 0; n < N; ++n) {
      const auto target =
          line.blocks.target(shift.data<float>() + n * d, scale.data<float>() + n * d);
      const auto one = line.blocks.sample(chain.place(first + n, t, d),
                                          counts[static_cast<std::size_t>(n)], &target);
      z.insert(z.end(), one.begin(), one.end());
      divergence += target.divergence();
      blocks += counts[static_cast<std::size_t>(n)];
    }
    return p.mean + p.deviation * Tensor::from(z, x0.shape()).to(chain.device);
  };
  const auto report = [&](std::int64_t t, const Tensor& estimate) {
    if (!observe) return;
    const double error = mean(square(estimate - x0)).item();
    observe({t, first, N, divergence, line.coder.bits() - bits_before, blocks, error});
  };

  const std::int64_t T = chain.timesteps();
  std::vector<int> levels(static_cast<std::size_t>(N), max_level);
  Tensor x = send(chain.q_prior(x0), chain.prior(), T - 1);
  for (std::int64_t t = T - 1; t > chain.end(); --t) {
    const ReverseStep step = chain.reverse_step(x, t);
    report(t, step.x0);
    const Normal q = chain.q(x0, x, t);
    line.code_levels(chain, levels, best_levels(chain, q.mean, step.mean, t));
    x = send(q, chain.p(step, t, levels), t - 1);
  }
  const ReverseStep last = chain.reverse_step(x, chain.end());
  report(chain.end(), last.x0);
  if (!chain.exact()) return;
  const std::uint8_t* byte = images.data<std::uint8_t>();
  for (const PixelCoder& pixel : pixels_of(last)) {
    line.coder.symbol(pixel.interval(*byte));
    divergence += pixel.cost(*byte++);
  }
  report(-1, x0);
}

// Algorithm 4: fills `images`.
void receive_group(const Chain& chain, End<RangeDecoder>& line, Tensor images, std::int64_t first) {
  const std::int64_t N = images.size(0), d = line.blocks.elements();
  std::vector<std::uint32_t> counts(static_cast<std::size_t>(N), 1);  // of blocks
  const auto receive = [&](const Normal& p, std::int64_t t) {
    std::vector<float> z;
    for (std::int64_t n = 0; n < N; ++n) {
      const auto one =
          line.blocks.sample(chain.place(first + n, t, d), counts[static_cast<std::size_t>(n)]);
      z.insert(z.end(), one.begin(), one.end());
    }
    return p.mean + p.deviation * Tensor::from(z, images.shape()).to(chain.device);
  };

  const std::int64_t T = chain.timesteps();
  std::vector<int> levels(static_cast<std::size_t>(N), max_level);
  Tensor x = receive(chain.prior(), T - 1);
  for (std::int64_t t = T - 1; t > chain.end(); --t) {
    const ReverseStep step = chain.reverse_step(x, t);
    line.code_levels(chain, levels, {});
    x = receive(chain.p(step, t, levels), t - 1);
  }
  const ReverseStep last = chain.reverse_step(x, chain.end());
  std::uint8_t* byte = images.mutable_data<std::uint8_t>();
  if (chain.exact()) {
    for (const PixelCoder& pixel : pixels_of(last)) {
      *byte = pixel.byte_at(line.coder.peek(PixelCoder::bits));
      line.coder.symbol(pixel.interval(*byte++));
    }
  } else {
    for (const float x0 : last.x0.to_vector<float>()) {
      *byte++ = static_cast<std::uint8_t>(std::lround((x0 + 1.0f) * 127.5f));
    }
  }
}

void expect_settings(const NoiseSchedule& schedule, const Settings& s, const Shape& images) {
  const std::int64_t T = schedule.timesteps();
  if (s.group < 1) fail<ValueError>("codec: images per group must be at least 1; got {}", s.group);
  if (s.last < -1 || s.last >= T) {
    fail<ValueError>("codec: the last timestep must be from -1 to {}; got {}", T - 1, s.last);
  }
  if (static_cast<double>(images.numel()) * static_cast<double>(T + 1) > 0x1p40) {
    fail<ValueError>("codec: too many images for one message: {} with {} timesteps", images.str(),
                     T);
  }
}

}  // namespace

Message send(const NoiseSchedule& schedule, const Denoiser& model, const Tensor& images,
             const Settings& settings, const SendOptions& options, Device device) {
  expect_dtype("codec::send", "images", images, DType::u8);
  if (images.rank() != 4 || images.numel() == 0) {
    fail<ShapeError>("codec::send: images must be [N, H, W, C], not empty; got {}", images.str());
  }
  expect_settings(schedule, settings, images.shape());
  const NoGrad no_grad;
  const Chain chain(schedule, model, settings, device);
  const std::int64_t N = images.size(0);
  RangeEncoder coder;
  End<RangeEncoder> line(coder, settings, images.numel() / N, options.block_bits);
  for (std::int64_t n = 0; n < N; n += settings.group) {
    const Tensor group = slice(images, 0, n, std::min(N, n + settings.group));
    send_group(chain, line, group, n, options.observer);
  }
  return {settings, images.shape(), coder.finish()};
}

Tensor receive(const NoiseSchedule& schedule, const Denoiser& model, const Message& message,
               Device device) {
  expect_settings(schedule, message.settings, message.shape);
  const NoGrad no_grad;
  const Chain chain(schedule, model, message.settings, device);
  const std::int64_t N = message.shape[0], group = message.settings.group;
  RangeDecoder coder(message.bytes, "codec::receive: the message");
  End<RangeDecoder> line(coder, message.settings, message.shape.numel() / N);
  std::vector<Tensor> parts;
  for (std::int64_t n = 0; n < N; n += group) {
    parts.push_back(Tensor::empty(message.shape.with(0, std::min(group, N - n)), DType::u8));
    receive_group(chain, line, parts.back(), n);
  }
  coder.finish();
  return concat(parts, 0);
}

std::uint32_t probe(const NoiseSchedule& schedule, const Denoiser& model, const Shape& shape,
                    Device device) {
  const NoGrad no_grad;
  const std::int64_t T = schedule.timesteps();
  Rng rng(0, Purpose::codec);
  const Tensor x = randn(rng, shape).to(device);
  uLong sum = crc32(0, nullptr, 0);
  for (const std::int64_t t : {T - 1, T / 2, std::int64_t{0}}) {
    const Tensor x0 = model(x, same_level(schedule.level(t), x)).x0.to(Device::cpu());
    sum = crc32(sum, static_cast<const Bytef*>(x0.raw()), static_cast<uInt>(x0.bytes()));
    for (const float mean : x0.to_vector<float>()) {
      const std::uint32_t edge = PixelCoder(mean, 0.1).interval(128).begin;
      sum = crc32(sum, reinterpret_cast<const Bytef*>(&edge), sizeof edge);
    }
  }
  return static_cast<std::uint32_t>(sum);
}

}  // namespace ito::codec
