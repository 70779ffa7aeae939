// Trains a diffusion model on small grey images: DDPM (Ho et al. 2020), Algorithm 1.
//
//   train_mnist                                   Fashion-MNIST, into out/train_mnist
//   train_mnist --dataset mnist --data data/mnist --out out/digits
//   train_mnist --resume auto                     goes on where a stopped run was
//
// The page below is the whole of the training. What it does not show (flags, the run directory,
// progress, sample grids, checkpoints, the report) is in examples/app/.
#include "examples/app/datasets.h"
#include "examples/app/exit_codes.h"
#include "examples/app/train_options.h"
#include "examples/app/training_run.h"
#include "ito.h"

namespace {

using namespace ito;

app::ExitCode train(const app::TrainOptions& options) {
  const Device device = app::choose_device(options.device, options.threads, options.quiet);
  const auto seed = static_cast<std::uint64_t>(options.seed);

  // Data, model and process.
  const data::Dataset dataset = app::load_dataset(options);
  const UNetConfig config = app::network_config(options, dataset);
  Rng init(seed, Purpose::init);
  UNet unet(config, init);
  const GaussianDiffusion process =
      app::make_process(options.schedule, options.timesteps, options.predict);

  // Optimiser, and the average of the weights that samples are drawn with.
  nn::FlatParameters flat(unet, device);
  nn::Adam adam(flat);
  nn::Ema ema(flat, options.ema);
  const auto lr = nn::LrSchedule::constant(options.lr, options.warmup);

  app::TrainingRun run(options, dataset, config, process, std::cref(unet), {flat, adam, ema});

  const data::BatchSampler batches(dataset.count(), options.batch, seed);
  Rng flips(seed, Purpose::augment), timesteps(seed, Purpose::timestep),
      noise(seed, Purpose::noise), dropout(seed, Purpose::dropout);
  const Denoiser model = [&](const Tensor& x_t, const Tensor& t) { return unet(x_t, t, &dropout); };

  for (std::int64_t step = run.first_step(); run.goes_on(step); ++step) {
    // Every random number is a function of the seed and the step: that is what makes a continued
    // run equal to one that was never stopped. --overfit repeats the numbers of step 0.
    const std::int64_t draw = options.overfit > 0 ? 0 : step;
    for (Rng* rng : {&flips, &timesteps, &noise, &dropout}) rng->seek(draw);

    // Clean images, a timestep for each, and noise.
    const auto images = batches.indices_at(draw);
    const Tensor x0 =
        data::gather_batch(dataset, images, options.flip == "on" ? &flips : nullptr).to(device);
    const Tensor t = randint(timesteps, 0, options.timesteps, {options.batch}, device);
    const Tensor eps = randn(noise, x0.shape(), DType::f32, device);

    // L_simple: how badly the network tells the noise from the noisy images.
    const Tensor losses = process.losses(model, x0, t, eps);
    flat.zero_grad();
    backward(mean(losses));

    // Adam, with the gradient clipped; and the average.
    const double norm = nn::grad_norm(flat);
    const app::StepResult result{images, x0, t, losses, norm, lr(step)};
    if (run.is_finite(step, result)) {
      adam.step(lr(step), nn::clip_factor(norm, options.clip));
      ema.update();
    }
    run.end_of_step(step, result);
  }
  return run.finish();
}

}  // namespace

#ifndef ITO_RECIPE
#define ITO_RECIPE app::mnist_recipe()  // train_cifar10.cpp puts another one here
#endif

int main(int argc, char** argv) {
  const app::TrainOptions recipe = ITO_RECIPE;
  return app::run_program(recipe.program.c_str(), [&] {
    const auto options = app::parse_train_options(recipe, argc, argv);
    return options ? train(*options) : app::ExitCode::success;
  });
}
