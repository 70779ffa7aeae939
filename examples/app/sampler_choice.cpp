#include "examples/app/sampler_choice.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "autograd/ops/elementwise.h"
#include "diffusion/denoiser/thresholding.h"
#include "examples/app/exit_codes.h"

namespace ito::app {
namespace {

// What a sampler is run with.
struct Job {
  const SamplerChoice& choice;
  const NoiseSchedule& schedule;
  const Denoiser& model;
  const Tensor& x_T;
  const std::vector<Level>& levels;
  const Rng& rng;
  SamplingOptions loop;
};

template <auto sampler>
Tensor deterministic(const Job& j) {
  return sampler(j.model, j.x_T, j.levels, j.loop);
}

Tensor ddpm(const Job& j) {
  const auto variance = enum_from_name<ReverseVariance>(j.choice.variance);
  return sample_ddpm(j.model, j.x_T, j.levels, j.rng, {.variance = variance, .loop = j.loop});
}

Tensor ddim(const Job& j) {
  return sample_ddim(j.model, j.x_T, j.levels, j.rng, {.eta = j.choice.eta, .loop = j.loop});
}

Tensor heun(const Job& j) {
  HeunOptions options{.churn = j.choice.churn, .loop = j.loop};
  options.level_at = [&](double noise_to_signal) { return j.schedule.level_at(noise_to_signal); };
  return sample_heun(j.model, j.x_T, j.levels, j.rng, options);
}

struct Entry {
  const char* name;
  std::int64_t usual_steps;  // 0: all timesteps
  Spacing usual_spacing;
  const char* order;
  const char* evaluations;  // of the network, in N steps
  const char* noise;
  const char* what;
  Tensor (*run)(const Job& job);
};

// All samplers. A new one is a row here; flags, --list and help follow.
constexpr Entry entries[] = {
    {"ddpm", 0, Spacing::even, "-", "N", "every step",
     "ancestral: draws from p(x_s | x_t); Ho et al. 2020, arXiv 2006.11239", ddpm},
    {"ddim", 50, Spacing::even, "1", "N", "with --eta",
     "implicit: along the estimate of the noise; Song et al. 2020, arXiv 2010.02502", ddim},
    {"euler", 50, Spacing::karras, "1", "N", "none",
     "Euler's method on the probability-flow ODE; Karras et al. 2022, arXiv 2206.00364",
     deterministic<sample_euler>},
    {"heun", 18, Spacing::karras, "2", "2 N - 1", "with --churn",
     "Heun's method: each step averages both its ends; Karras et al. 2022, arXiv 2206.00364", heun},
    {"dpmpp2m", 20, Spacing::karras, "2", "N", "none",
     "DPM-Solver++(2M): x_0 goes on as in the step before; Lu et al. 2022, arXiv 2211.01095",
     deterministic<sample_dpmpp_2m>},
    {"unipc", 20, Spacing::karras, "3", "N", "none",
     "UniPC-2: dpmpp2m, each step corrected afterwards; Zhao et al. 2023, arXiv 2302.04867",
     deterministic<sample_unipc>},
};

const Entry& entry_of(const std::string& name) {
  for (const Entry& entry : entries) {
    if (name == entry.name) return entry;
  }
  stop(ExitCode::usage, "--sampler: there is no {}", name);
}

// "all timesteps of the model for ddpm, 50 for ddim, ...".
std::string usual_steps() {
  std::string text;
  for (const Entry& e : entries) {
    const std::string steps =
        e.usual_steps == 0 ? "all timesteps of the model" : std::to_string(e.usual_steps);
    text += fmt::format("{}{} for {}", text.empty() ? "" : ", ", steps, e.name);
  }
  return text;
}

}  // namespace

void add_sampler_flags(CommandLine& line, SamplerChoice& c) {
  std::vector<std::string> names;
  for (const Entry& entry : entries) names.emplace_back(entry.name);
  line.add_choice("--sampler", c.name, names, "how to denoise; --list explains them");
  line.add("--steps", c.steps, {0, 100'000},
           "denoising steps; 0: what suits the sampler: " + usual_steps());
  std::vector<std::string> spacings = all_names<Spacing>();
  spacings.insert(spacings.begin(), "usual");
  spacings.emplace_back("linspace");
  line.add_choice(
      "--spacing", c.spacing, spacings,
      "which timesteps are visited; linspace is even; usual: what a converted model says "
      "of itself, else even for ddpm and ddim, karras for the others");
  line.add("--eta", c.eta, {0.0, 1.0}, "noise of ddim: 0 none, 1 as much as ddpm");
  line.add_choice("--variance", c.variance, {"usual", "beta", "beta-tilde", "learned"},
                  "of the steps of ddpm; learned by the network where it was trained to; usual: "
                  "what a converted model says of itself, else beta");
  line.add("--churn", c.churn, {0.0, 1e6}, "noise of heun over all steps (S_churn)");
  line.add_switch("--no-clip", c.no_clip, "do not clip estimates of the image to [-1, 1]");
  line.add("--threshold", c.threshold, {0.0, 1.0},
           "in the place of clipping, scale estimates by this quantile of their size, such as "
           "0.995 (dynamic thresholding); 0: clip");
  line.add_switch("--no-graph", c.no_graph,
                  "on the device, start each kernel by itself (for debugging)");
}

void check_sampler_flags(const CommandLine& line, const SamplerChoice& c) {
  const struct {
    const char *flag, *sampler;
  } owned[] = {{"--eta", "ddim"}, {"--variance", "ddpm"}, {"--churn", "heun"}};
  for (const auto& [flag, sampler] : owned) {
    if (line.given(flag) && c.name != sampler) {
      stop(ExitCode::usage, "{} belongs to --sampler {}; got --sampler {}", flag, sampler, c.name);
    }
  }
  if (c.no_clip && c.threshold > 0.0) {
    stop(ExitCode::usage,
         "--threshold limits estimates of the image and --no-clip does not: "
         "choose one");
  }
}

std::string list_of_samplers() {
  std::string text =
      fmt::format("{:<9}{:<7}{:<13}{:<14}{}\n", "sampler", "order", "evaluations", "noise", "what");
  for (const Entry& e : entries) {
    text +=
        fmt::format("{:<9}{:<7}{:<13}{:<14}{}\n", e.name, e.order, e.evaluations, e.noise, e.what);
  }
  return text +
         "(order: the error falls as steps to this power; evaluations: of the network, in N "
         "steps)\n";
}

SamplerPlan plan_sampler(const SamplerChoice& choice, const ModelCard& model) {
  SamplerChoice c = choice;
  const SamplingDefaults& own = model.sampling;
  const Entry& entry = entry_of(c.name);
  const std::int64_t T = model.timesteps;
  if (c.steps > T) {
    stop(ExitCode::usage, "--steps must be at most {}, the timesteps of this model; got {}", T,
         c.steps);
  }
  const std::int64_t usual = entry.usual_steps == 0 ? T : std::min(entry.usual_steps, T);
  if (c.variance == "usual") c.variance = own.variance;
  SamplerPlan plan;
  plan.steps = c.steps > 0 ? c.steps : usual;
  plan.deterministic = c.name != "ddpm" && c.eta == 0.0 && c.churn == 0.0;
  const std::string spacing = c.spacing == "usual" ? own.spacing : c.spacing;
  plan.spacing = spacing == "usual"      ? entry.usual_spacing
                 : spacing == "linspace" ? Spacing::even
                                         : enum_from_name<Spacing>(spacing);
  if (plan.spacing == Spacing::leading) plan.offset = own.steps_offset;
  if (c.threshold > 0.0) {
    plan.threshold = c.threshold;
    plan.max_threshold = INFINITY;
  } else if (!c.no_clip) {
    plan.clip = own.clip;
    plan.threshold = own.threshold;
    plan.max_threshold = own.max_threshold;
  } else {
    plan.clip = 0.0;
  }
  plan.choice = std::move(c);
  return plan;
}

std::vector<Level> levels_of(const SamplerPlan& plan, const NoiseSchedule& schedule) {
  return with_exit_code(ExitCode::usage, [&] {
    return sampling_levels(schedule, plan.steps, plan.spacing, plan.offset);
  });
}

std::string SamplerPlan::text() const {
  std::string s = fmt::format("{}, {} steps, {}", choice.name, steps, name_of(spacing));
  if (choice.name == "ddim") s += fmt::format(", eta {}", choice.eta);
  if (choice.name == "ddpm") s += fmt::format(", variance {}", choice.variance);
  if (choice.name == "heun") s += fmt::format(", churn {}", choice.churn);
  if (threshold > 0.0) return s + fmt::format(", threshold {}", threshold);
  if (clip == 0.0) return s + ", no clipping";
  return clip == 1.0 ? s : s + fmt::format(", clipped to {}", clip);
}

Tensor run_sampler(const SamplerPlan& plan, const NoiseSchedule& schedule, const Denoiser& model,
                   const Tensor& x_T, const Rng& rng, const Observer& observer) {
  const SamplerChoice& c = plan.choice;
  const double clip = plan.clip;
  const Thresholding limit =
      plan.threshold > 0.0 ? dynamic_threshold(plan.threshold, plan.max_threshold)
      : clip == 0.0        ? Thresholding{}
      : clip == 1.0        ? Thresholding{clip_x0}
                           : [clip](const Tensor& x0) { return clamp(x0, -clip, clip); };
  const Denoiser limited = thresholded(model, limit);
  const std::vector<Level> levels = levels_of(plan, schedule);
  const Job job{
      c, schedule, limited, x_T, levels, rng, {.observer = observer, .graph = !c.no_graph}};
  Tensor images = entry_of(c.name).run(job);
  const std::vector<float> values = images.to(Device::cpu()).to_vector<float>();
  const auto bad =
      std::find_if_not(values.begin(), values.end(), [](float x) { return std::isfinite(x); });
  if (bad != values.end()) {
    stop(ExitCode::non_finite, "{}: image {} of the batch is not finite; got {}", plan.text(),
         (bad - values.begin()) / (std::ssize(values) / images.size(0)), *bad);
  }
  return images;
}

}  // namespace ito::app
