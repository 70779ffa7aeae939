// Training a diffusion model on images: DDPM (Ho et al. 2020), Algorithm 1. The page below is the
// whole of it. What it does not show (flags, the run directory, progress, sample grids,
// checkpoints, the report) is in diffusion/training/ and examples/app/.
#include "examples/train_images.h"

#include "examples/app/datasets.h"
#include "examples/app/device_option.h"
#include "examples/app/exit_codes.h"
#include "examples/app/image_run.h"
#include "examples/app/step_profile.h"
#include "examples/app/train_options.h"
#include "examples/app/training_loss.h"
#include "ito.h"

namespace ito::app {
namespace {

ExitCode train(TrainOptions options) {
  const Device device = choose_device(options.device, options.threads, options.quiet);
  const DType dtype = choose_dtype(options.dtype, device);
  const auto seed = static_cast<std::uint64_t>(options.seed);

  // Data, model and process.
  const data::Dataset dataset = load_dataset(options), on_device = dataset.to(device);
  const UNetConfig config = network_config(options, dataset);
  Rng init(seed, Purpose::init);
  UNet unet(config, init);
  unet.recompute = options.recompute;
  const NoiseSchedule schedule = NoiseSchedule::named(options.schedule, options.timesteps);
  const Parametrization parametrization = parametrization_of(options.predict);

  // Optimiser, and the average of the weights that samples are drawn with.
  nn::FlatParameters flat(unet, device, dtype);
  nn::Adam adam(flat);
  nn::Ema ema(flat, ema_decay(options));

  // L_simple as it is with uniform timesteps, unless the flags ask for something else.
  const TrainingLoss loss(options, schedule, parametrization, device);
  Timesteps timesteps(options, device);

  const ModelCard card = model_card(options, config, dataset);
  RunDescription about = describe(options, dataset, card, std::cref(unet), ema, device);
  about.learned = timesteps.observer();
  ProgramRun run(options, image_run_options(options, dataset, card),
                 {flat, adam, &ema, timesteps.states()}, about);
  StepProfile profile(options, unet);

  // Every random number is a function of the seed and the step: that is what makes a continued run
  // equal to one that was never stopped. The step is read from where it lies on the device.
  Rng flips(seed, Purpose::augment), times(seed, Purpose::timestep), noise(seed, Purpose::noise),
      dropout(seed, Purpose::dropout), drops(seed, Purpose::condition);
  const data::BatchSampler batches(dataset.count(), options.batch, seed);
  const Tensor classes = options.class_conditional ? dataset.labels.to(device) : Tensor{};
  Tensor images = Tensor::zeros({options.batch}, DType::i64, device);
  Tensor draw = Tensor::zeros({1}, DType::i64, device);
  const auto generators = {&flips, &times, &noise, &dropout, &drops};
  for (Rng* rng : generators) rng->bind(draw);

  // One step. On a GPU it is recorded once and then started as a whole: it must do the same every
  // time, and nothing in it may wait for a result.
  Graph step_of_training(
      device,
      [&] {
        for (Rng* rng : generators) rng->seek(0);  // draw 0 of the step

        // Clean images, a timestep and noise for each, and x_t between them.
        const Tensor x0 = data::gather_batch(on_device, images, options.flip ? &flips : nullptr);
        const Tensor t = timesteps.draw(times);
        const Tensor eps = randn(noise, x0.shape(), DType::f32, device);
        const Levels levels = schedule.levels(t, x0);
        const Tensor x_t = add_noise(x0, eps, levels);

        // The class of each image, sometimes forgotten, when the network is told.
        Tensor labels;
        if (classes.defined()) {
          labels =
              drop_labels(gather(classes, images), config.num_classes, options.drop_class, drops);
        }

        // L_simple: how badly the network tells the noise from the noisy images; weighted, or with
        // the bound, where flags say so.
        const Network network = [&](const Tensor& x, const Tensor& time) {
          return unet(x, time, {labels}, &dropout);
        };
        const Tensor output = parametrization.call(network, x_t, levels);
        const Tensor simple = parametrization.losses(output, x0, eps, levels);
        const Tensor losses = loss(simple, output, x_t, x0, t, eps, levels);
        flat.zero_grad();
        backward(timesteps.mean(losses));

        // Adam, with the gradient clipped; and the average. Nothing changes when something is NaN.
        adam.step_if_finite({.max_norm = options.clip,
                             .average = &ema,
                             .losses = losses,
                             .most_skipped = training::max_consecutive_skips});
        run->record({losses, t, {{"x0", x0}, {"images", images}}});
      },
      options.graph);

  // What the step with this number finds in the memory of the device. --overfit repeats step 0.
  const auto prepare = [&](std::int64_t step) {
    const std::int64_t number = options.overfit > 0 ? 0 : step;
    images.assign(Tensor::from(batches.indices_at(number), images.shape()));
    draw.fill(static_cast<double>(number));
    timesteps.prepare(number);
  };

  // With --minutes a few steps are timed and undone, to know how many there will be.
  const auto lr = run.begin([&](std::int64_t step) { prepare(step), step_of_training.run(); });

  // end_of_step() tells the next step: this one again when it has to be looked at more closely.
  for (std::int64_t step = run->first_step(); run->should_continue(step);) {
    prepare(step);
    adam.set_lr(lr(step));
    profile.run(step_of_training);
    step = run->end_of_step(step, lr(step));
  }
  return run.finish();
}

}  // namespace

int train_images(const TrainOptions& recipe, int argc, char** argv) {
  return run_program(recipe.program.c_str(), [&] {
    const auto options = parse_train_options(recipe, argc, argv);
    return options ? train(*options) : ExitCode::success;
  });
}

}  // namespace ito::app
