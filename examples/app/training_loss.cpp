#include "examples/app/training_loss.h"

#include "autograd/ops/elementwise.h"
#include "autograd/ops/indexing.h"
#include "autograd/ops/reduce.h"
#include "diffusion/objective/hybrid_loss.h"
#include "diffusion/objective/loss_weight.h"

namespace ito::app {

TrainingLoss::TrainingLoss(const TrainOptions& options, const NoiseSchedule& schedule,
                           const Parametrization& parametrization, Device device)
    : parametrization_(parametrization), bound_alone_(options.loss_weight == "bound") {
  if (options.learn_variance || bound_alone_) {
    const auto variance = options.learn_variance ? ReverseVariance::learned : ReverseVariance::beta;
    bound_.emplace(schedule, BoundOptions{.variance = variance}, DType::f32, device);
  }
  if (bound_alone_ || options.loss_weight == "simple") return;
  weights_ = loss_weights(schedule, parametrization,
                          enum_from_name<LossWeight>(options.loss_weight), DType::f32, device);
}

Tensor TrainingLoss::operator()(const Tensor& simple, const Tensor& output, const Tensor& x_t,
                                const Tensor& x0, const Tensor& t, const Tensor& eps,
                                const Levels& levels) const {
  const auto denoised = [&] { return parametrization_.denoised(output, x_t, levels); };
  if (bound_alone_) return bound_losses(*bound_, denoised(), x_t, x0, t, eps);
  Tensor losses = simple;
  if (weights_.defined()) losses = gather(weights_, t) * losses;
  if (bound_) losses = losses + variance_losses(*bound_, denoised(), x_t, x0, t, eps);
  return losses;
}

Timesteps::Timesteps(const TrainOptions& options, Device device)
    : rng_(static_cast<std::uint64_t>(options.seed), Purpose::timestep),
      timesteps_(options.timesteps),
      device_(device),
      batch_{options.batch} {
  if (options.t_sampling == TimestepSampling::uniform) return;
  sampler_.emplace(timesteps_);
  t_ = Tensor::zeros(batch_, DType::i64, device);
  weight_ = Tensor::zeros(batch_, DType::f32, device);
}

void Timesteps::prepare(std::int64_t number) {
  if (!sampler_) return;
  rng_.seek(static_cast<std::uint64_t>(number));
  const TimestepSampler::Draw draw = sampler_->draw(rng_, batch_[0]);
  t_.assign(draw.t);
  weight_.assign(draw.weight);
}

Tensor Timesteps::draw(Rng& rng) const {
  return sampler_ ? t_.clone() : randint(rng, 0, timesteps_, batch_, device_);
}

Tensor Timesteps::mean(const Tensor& losses) const {
  return ito::mean(sampler_ ? weight_ * losses : losses);
}

std::vector<training::NamedState> Timesteps::states() {
  if (!sampler_) return {};
  return {
      {.file = "timesteps.safetensors",
       .save =
           [this] {
             return nn::TensorFile{{{"losses", sampler_->state()}}, {{"format", "ito"}}};
           },
       .restore = [this](const nn::SafeTensors& file) { sampler_->restore(file.at("losses")); }}};
}

std::function<void(const std::vector<std::int64_t>&, const std::vector<float>&)>
Timesteps::observer() {
  if (!sampler_) return {};
  return [this](const auto& t, const auto& losses) { sampler_->update(t, losses); };
}

}  // namespace ito::app
