// Diffusion in the plane, where it can be seen whole: trains a small network on a set of points in
// about a minute, draws new points with every sampler, and says how far they are from the data.
//
//   train_points                                          eight normal distributions
//   train_points --points moons --predict edm --out moons.svg --save moons.safetensors
//   train_points --load moons.safetensors --sample-steps 8
//
// The distances stand beside those of the data from other draws of themselves: no sampler can be
// asked for less.
#include <cmath>

#include "examples/app/device_option.h"
#include "examples/app/exit_codes.h"
#include "examples/app/files.h"
#include "examples/app/output.h"
#include "examples/app/program_run.h"
#include "examples/app/scatter_plot.h"
#include "examples/app/signals.h"
#include "examples/app/time_budget.h"
#include "examples/app/train_options.h"
#include "ito.h"

namespace {

using namespace ito;

struct Options : app::RunFlags {
  PointModelCard card;
  std::string out = "points.svg", save, load;
  std::int64_t count = 2000;

  Options() {
    program = "train_points";
    description = "Diffusion of points in the plane, with every sampler.";
    steps = 6000;
    batch = 512;
    lr = 4e-3;
    decay_follows = true;
    sample_steps = 20;
    checkpoint_every = 1000;
    keep_last = 1;
    log_every = 100;
  }
};

template <class Flags, class Visitor>
void visit(Flags& o, Visitor& v) {
  using namespace app;
  v.heading("Data and process");
  v("--points", o.card.points, Named{}, "what to learn", learned);
  v("--schedule", o.card.schedule, Choices{NoiseSchedule::names()}, "noise schedule", learned);
  v("--timesteps", o.card.timesteps, IntRange{2, 100'000}, "T, steps of the forward process",
    learned);
  v("--predict", o.card.predict, NamedExcept{Prediction::score},
    "what the network puts out; edm: with the preconditioning and the noise levels of Karras et "
    "al. 2022, whatever the schedule",
    learned);
  v.heading("Network and training");
  v("--width", o.card.network.width, IntRange{4, 4096}, "of every layer", learned);
  v("--layers", o.card.network.layers, IntRange{1, 64}, "residual layers", learned);
  visit_length(o, v);
  v("--batch", o.batch, IntRange{1, 1'048'576}, "points per step", learned);
  v("--lr", o.lr, RealRange{0.0, 1.0, true}, "highest learning rate; it falls along a cosine",
    learned);
  v("--load", o.load, Text{"FILE.safetensors"}, "a model from --save, instead of training one",
    not_kept);
  v.heading("Samples");
  v("--count", o.count, IntRange{2, 100'000}, "points drawn by each sampler", of_run);
  v("--sample-steps", o.sample_steps, IntRange{1, 100'000}, "steps of all samplers but ddpm",
    of_run);
  v.heading("Run");
  v("--seed", o.seed, IntRange{0, INT64_MAX}, "of weights, data and noise", learned);
  v("--out", o.out, Text{"FILE.svg"},
    "picture of data and samples; beside it FILE.run/ with checkpoints, metrics and report.html",
    of_run);
  v("--save", o.save, Text{"FILE.safetensors"}, "the trained model", of_run);
  visit_run_flags(o, v);
}

bool parse(Options& o, int argc, char** argv) {
  app::CommandLine line(o.program, o.description);
  app::FlagAdder flags{line};
  visit(o, flags);
  line.allow_config_file();
  if (!line.parse(argc, argv)) return false;
  for (const char* flag :
       {"--points", "--schedule", "--timesteps", "--predict", "--width", "--layers", "--steps",
        "--minutes", "--batch", "--lr", "--save", "--resume", "--checkpoint-every", "--keep-last",
        "--log-every", "--overwrite"}) {
    if (line.given("--load") && line.given(flag)) {
      app::stop(app::ExitCode::usage, "{} belongs to training; --load brings a trained model",
                flag);
    }
  }
  app::check_length(line, o);
  if (o.minutes == 0) app::follow_steps(o, o.steps);
  app::run_beside(o, o.out);
  app::expect_output("--out", o.out);
  app::expect_output("--save", o.save);
  return true;
}

app::RunDescription describe(const Options& o) {
  app::RunDescription about;
  about.subject = name_of(o.card.points);
  about.unit = "points";
  about.facts = {{"data", name_of(o.card.points)},
                 {"process", fmt::format("{}, predicts {}",
                                         o.card.predict == Prediction::edm
                                             ? std::string("noise levels of EDM")
                                             : fmt::format("{} schedule, T = {}", o.card.schedule,
                                                           o.card.timesteps),
                                         name_of(o.card.predict))}};
  about.rows = [&] {
    app::OptionCollector collected;
    visit(o, collected);
    return collected.rows;
  };
  return about;
}

// Leaves the average of the weights in the model. The exit code: that of a signal, after which they
// are not the final ones.
app::ExitCode train(Options& o, const PointModel& model) {
  const NoiseSchedule schedule = model.schedule();
  const Path path = Path::edm();
  const Parametrization parametrization = model.parametrization();
  const auto seed = static_cast<std::uint64_t>(o.seed);
  nn::FlatParameters flat(*model.network);
  nn::Adam adam(flat);
  nn::Ema ema(flat, 0.995);
  Rng points(seed, Purpose::data), timesteps(seed, Purpose::timestep), noise(seed, Purpose::noise);
  const Mlp& mlp = *model.network;

  training::RunOptions run_options = app::run_options(o);
  run_options.timesteps = model.is_edm() ? 0 : o.card.timesteps;
  run_options.metadata = {{"point_model", model.card.to_json()}};
  app::ProgramRun run(o, run_options, {flat, adam, &ema}, describe(o));

  const auto make_step = [&](std::int64_t step, double rate) {
    for (Rng* rng : {&points, &timesteps, &noise}) rng->seek(static_cast<std::uint64_t>(step));
    const Tensor x0 = data::draw_points(o.card.points, points, o.batch, DType::f32);
    const Tensor eps = randn(noise, x0.shape());
    Tensor t;  // of the schedule; EDM draws its levels
    if (!model.is_edm()) t = randint(timesteps, 0, o.card.timesteps, {o.batch});
    const Levels levels = model.is_edm() ? path.levels(path.draw_times(timesteps, o.batch), x0)
                                         : schedule.levels(t, x0);
    const Tensor output = parametrization.call(std::cref(mlp), add_noise(x0, eps, levels), levels);
    const Tensor losses = parametrization.losses(output, x0, eps, levels);
    flat.zero_grad();
    backward(mean(losses));
    adam.set_lr(rate);
    adam.step_if_finite({.average = &ema,
                         .losses = losses,
                         .max_consecutive_skips = training::max_consecutive_skips});
    run->record({.losses = losses, .t = t, .inputs = {{"x0", x0}}});
  };

  const auto lr = run.begin([&](std::int64_t step) { make_step(step, o.lr); });
  for (std::int64_t step = run->first_step(); run->should_continue(step);) {
    make_step(step, lr(step));
    step = run->end_of_step(step, lr(step));
  }
  flat.master.assign(ema.values);
  return run.finish();
}

struct Drawn {
  std::string name;
  std::int64_t evaluations;  // of the network
  Tensor points;
};

// The same noise under every sampler.
std::vector<Drawn> draw(const Options& o, const PointModel& model, const Tensor& x_T,
                        const Rng& rng) {
  const Denoiser denoiser = model.denoiser();
  const std::int64_t T = model.card.timesteps, steps = o.sample_steps;
  const Spacing all = model.is_edm() ? Spacing::karras : Spacing::even;
  const auto levels = [&](std::int64_t n, Spacing spacing) {
    return model.is_edm() ? sampling_levels(Path::edm(), n, spacing)
                          : sampling_levels(model.schedule(), n, spacing);
  };
  const std::vector<Level> even = levels(steps, all), karras = levels(steps, Spacing::karras);
  const Tensor start = model.is_edm() ? karras.front().sigma * x_T : x_T;
  return {
      {"ddpm", T, sample_ddpm(denoiser, start, levels(T, all), rng)},
      {"ddim", steps, sample_ddim(denoiser, start, even, rng)},
      {"euler", steps, sample_euler(denoiser, start, karras)},
      {"heun", 2 * steps - 1, sample_heun(denoiser, start, karras, rng)},
      {"dpmpp2m", steps, sample_dpmpp_2m(denoiser, start, karras)},
      {"unipc", steps, sample_unipc(denoiser, start, karras)},
  };
}

struct Distances {
  double mmd, sliced;  // squared MMD and squared sliced W2

  std::string caption() const {
    return fmt::format("MMD\u00b2 {:.1f}e-4, SW\u00b2 {:.1f}e-3", 1e4 * mmd, 1e3 * sliced);
  }
};

// Measures how far points are from data, and what two draws of the data come to.
class PointMetrics {
 public:
  PointMetrics(data::PointSet set, const Options& o)
      : rng_(static_cast<std::uint64_t>(o.seed), Purpose::test) {
    directions_ = random_directions(rng_, 64, 2);
    reference = data::draw_points(set, rng_, o.count);
    std::vector<Tensor> draws;
    for (int i = 0; i < 16; ++i) draws.push_back(data::draw_points(set, rng_, o.count));
    const auto sliced = [&](const Tensor& a, const Tensor& b) {
      return sliced_wasserstein(a, b, directions_);
    };
    const auto mmd = [](const Tensor& a, const Tensor& b) { return squared_mmd(a, b); };
    limit = {metric_floor(mmd, draws).limit(), metric_floor(sliced, draws).limit()};
  }
  Distances operator()(const Tensor& x) const {
    return {squared_mmd(x, reference), sliced_wasserstein(x, reference, directions_)};
  }

  Tensor reference;  // points of the data
  Distances limit;   // mean and three standard deviations

 private:
  Rng rng_;
  Tensor directions_;
};

// A panel for data, noise and each sampler; a line of the table for each.
std::vector<app::ScatterPanel> compare(const Options& o, const PointModel& model) {
  const PointMetrics metrics(model.card.points, o);
  const auto line = [&](const std::string& name, const std::string& evaluations,
                        const Distances& d) {
    if (o.quiet) return;
    app::print(stdout, "{:<20} {:>11}  {:12.2f}  {:18.2f}\n", name, evaluations, 1e4 * d.mmd,
               1e3 * d.sliced);
  };
  if (!o.quiet) {
    app::print(stdout, "{0} points each; distances to {0} other points of the data\n", o.count);
    app::print(stdout, "{:<20} evaluations   MMD^2 * 1e4   sliced W2^2 * 1e3\n", "");
  }
  line("data, mean + 3 sd", "", metrics.limit);
  std::vector<app::ScatterPanel> panels = {{std::string("data: ") + name_of(model.card.points),
                                            "other draws: " + metrics.limit.caption(), "#222222",
                                            metrics.reference}};

  Rng rng(static_cast<std::uint64_t>(o.seed), Purpose::sample);
  const Tensor x_T = randn(rng, {o.count, 2});
  const Distances of_noise = metrics(x_T);
  line("noise", "0", of_noise);
  panels.push_back({"noise", of_noise.caption(), "#999999", x_T});
  for (const Drawn& drawn : draw(o, model, x_T, rng)) {
    const Distances distances = metrics(drawn.points);
    line(drawn.name, std::to_string(drawn.evaluations), distances);
    panels.push_back({fmt::format("{}, {} evaluations", drawn.name, drawn.evaluations),
                      distances.caption(), "#1f5fa8", drawn.points});
  }
  return panels;
}

app::ExitCode run(Options& o) {
  app::choose_device("cpu", o.threads, /*quiet=*/true);
  app::catch_signals();
  app::with_exit_code(app::ExitCode::usage, [&] {
    app::expect_signal(o.card.schedule, o.card.timesteps, o.card.predict);
  });
  Rng init(static_cast<std::uint64_t>(o.seed), Purpose::init);
  const PointModel model =
      o.load.empty()
          ? app::with_exit_code(app::ExitCode::usage, [&] { return PointModel(o.card, init); })
          : app::with_exit_code(app::ExitCode::checkpoint,
                                [&] { return load_point_model(o.load); });
  if (o.sample_steps > model.card.timesteps) {
    app::stop(app::ExitCode::usage,
              "--sample-steps must be at most {}, the timesteps of the model; got {}",
              model.card.timesteps, o.sample_steps);
  }
  if (o.load.empty()) {
    const app::ExitCode code = train(o, model);
    if (code != app::ExitCode::success) return code;
  }
  app::with_exit_code(app::ExitCode::resource, [&] {
    if (!o.save.empty()) save_point_model(o.save, model);
    app::write_text(o.out, app::scatter_plot(compare(o, model)));
  });
  return app::ExitCode::success;
}

}  // namespace

int main(int argc, char** argv) {
  return app::run_program("train_points", [&] {
    Options options;
    return parse(options, argc, argv) ? run(options) : app::ExitCode::success;
  });
}
