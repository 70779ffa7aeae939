#include "diffusion/models/diffusers_scheduler.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "diffusion/models/diffusers_json.h"

namespace ito {
namespace {

using namespace diffusers_json;

// The schedulers whose forward process is DDPM's, with the values of the keys that a file may lack.
struct SchedulerClass {
  const char* name;
  double beta_start = 1e-4, beta_end = 0.02;
  const char* beta_schedule = "linear";
  const char* spacing = "linspace";
  bool clips = false;
};

constexpr SchedulerClass scheduler_classes[] = {
    {.name = "DDPMScheduler", .spacing = "leading", .clips = true},
    {.name = "DDPMParallelScheduler", .spacing = "leading", .clips = true},
    {.name = "DDIMScheduler", .spacing = "leading", .clips = true},
    {.name = "DDIMParallelScheduler", .spacing = "leading", .clips = true},
    {.name = "DDIMInverseScheduler", .spacing = "leading", .clips = true},
    {.name = "RePaintScheduler", .spacing = "leading", .clips = true},
    {.name = "PNDMScheduler", .spacing = "leading"},
    {.name = "DEISMultistepScheduler"},
    {.name = "DPMSolverMultistepScheduler"},
    {.name = "DPMSolverMultistepInverseScheduler"},
    {.name = "DPMSolverSinglestepScheduler"},
    {.name = "EulerDiscreteScheduler"},
    {.name = "EulerAncestralDiscreteScheduler"},
    {.name = "LMSDiscreteScheduler"},
    {.name = "SASolverScheduler"},
    {.name = "UniPCMultistepScheduler"},
    {.name = "HeunDiscreteScheduler", .beta_start = 0.00085, .beta_end = 0.012},
    {.name = "KDPM2DiscreteScheduler", .beta_start = 0.00085, .beta_end = 0.012},
    {.name = "KDPM2AncestralDiscreteScheduler", .beta_start = 0.00085, .beta_end = 0.012},
    {.name = "LCMScheduler",
     .beta_start = 0.00085,
     .beta_end = 0.012,
     .beta_schedule = "scaled_linear",
     .spacing = "leading"},
    {.name = "TCDScheduler",
     .beta_start = 0.00085,
     .beta_end = 0.012,
     .beta_schedule = "scaled_linear",
     .spacing = "leading"},
};

const SchedulerClass& class_of(const Json& json, const std::string& file,
                               std::vector<std::string>& notices) {
  const auto name = value<std::string>(json, "_class_name", "", file);
  if (name.empty()) {
    notices.push_back(fmt::format("{}: no _class_name; taken for a DDPMScheduler", file));
    return scheduler_classes[0];
  }
  for (const SchedulerClass& known : scheduler_classes) {
    if (name == known.name) return known;
  }
  fail<FormatError>(
      "{}: _class_name {}: its noise is not that of DDPM, or not known; ito takes the schedulers "
      "that are defined by betas, such as DDPMScheduler, DDIMScheduler and EulerDiscreteScheduler",
      file, name);
}

std::vector<double> betas_of(const NoiseSchedule& schedule) {
  std::vector<double> betas;
  for (std::int64_t t = 0; t < schedule.timesteps(); ++t) betas.push_back(schedule.beta(t));
  return betas;
}

// 1 - f((t + 1) / T) / f(t / T), at most 0.999, of alpha_bar = f.
template <class F>
std::vector<double> betas_of_alpha_bar(std::int64_t steps, const F& alpha_bar) {
  std::vector<double> betas;
  for (std::int64_t t = 0; t < steps; ++t) {
    const double T = static_cast<double>(steps), here = static_cast<double>(t);
    betas.push_back(std::min(1.0 - alpha_bar((here + 1.0) / T) / alpha_bar(here / T), 0.999));
  }
  return betas;
}

double laplace_alpha_bar(double t) {
  const double sign = t <= 0.5 ? 1.0 : -1.0;
  const double snr = std::exp(-0.5 * sign * std::log(1.0 - 2.0 * std::abs(0.5 - t) + 1e-6));
  return std::sqrt(snr / (1.0 + snr));
}

std::vector<double> named_betas(const Json& json, const SchedulerClass& usual,
                                const std::string& file) {
  const auto steps = value<std::int64_t>(json, "num_train_timesteps", 1000, file);
  if (steps < 1 || steps > 100'000) {
    fail<FormatError>("{}: num_train_timesteps must be in [1, 100000]; got {}", file, steps);
  }
  const auto kind = value<std::string>(json, "beta_schedule", usual.beta_schedule, file);
  const auto first = value(json, "beta_start", usual.beta_start, file);
  const auto last = value(json, "beta_end", usual.beta_end, file);
  if (kind == "linear") return betas_of(NoiseSchedule::linear(steps, first, last));
  if (kind == "scaled_linear") return betas_of(NoiseSchedule::quadratic(steps, first, last));
  if (kind == "squaredcos_cap_v2") return betas_of(NoiseSchedule::cosine(steps));
  if (kind == "exp") {
    return betas_of_alpha_bar(steps, [](double t) { return std::exp(-12.0 * t); });
  }
  if (kind == "laplace") return betas_of_alpha_bar(steps, laplace_alpha_bar);
  if (kind == "sigmoid") {
    std::vector<double> betas;
    for (std::int64_t t = 0; t < steps; ++t) {
      const double share =
          steps == 1 ? 0.0 : static_cast<double>(t) / static_cast<double>(steps - 1);
      betas.push_back(first + (last - first) / (1.0 + std::exp(6.0 - 12.0 * share)));
    }
    return betas;
  }
  fail<FormatError>(
      "{}: beta_schedule must be linear, scaled_linear, squaredcos_cap_v2, sigmoid, exp or "
      "laplace; "
      "got {}",
      file, kind);
}

std::vector<double> betas_of(const Json& json, const SchedulerClass& usual,
                             const std::string& file) {
  auto betas = value<std::vector<double>>(json, "trained_betas", {}, file);
  if (betas.empty()) betas = named_betas(json, usual, file);
  if (!value(json, "rescale_betas_zero_snr", false, file)) return betas;
  return betas_of(NoiseSchedule::from_betas(betas).with_zero_terminal_snr());
}

// diffusers keeps betas in f32.
bool same_betas(const std::vector<double>& a, const std::vector<double>& b) {
  return std::ranges::equal(a, b, [](double x, double y) { return std::abs(x - y) <= 1e-6 * y; });
}

// The schedule of these betas by its name or, where it has none, with the betas themselves.
void set_schedule(const std::vector<double>& betas, ModelCard& card) {
  card.timesteps = std::ssize(betas);
  card.betas.clear();
  for (const std::string& name : NoiseSchedule::names()) {
    try {
      if (!same_betas(betas, betas_of(NoiseSchedule::named(name, card.timesteps)))) continue;
    } catch (const ValueError&) {
      continue;  // a schedule that cannot have so few steps
    }
    card.schedule = name;
    return;
  }
  card.schedule = "custom";
  card.betas = betas;
}

Prediction prediction_of(const Json& json, const std::string& file) {
  const auto predicts = value<std::string>(json, "prediction_type", "epsilon", file);
  if (predicts == "epsilon") return Prediction::epsilon;
  if (predicts == "sample") return Prediction::x0;
  if (predicts == "v_prediction") return Prediction::v;
  fail<FormatError>("{}: prediction_type must be epsilon, sample or v_prediction; got {}", file,
                    predicts);
}

SamplingDefaults sampling_of(const Json& json, const SchedulerClass& usual,
                             const std::string& file) {
  SamplingDefaults s;
  s.clip = value(json, "clip_sample", usual.clips, file)
               ? value(json, "clip_sample_range", 1.0, file)
               : 0.0;
  if (value(json, "thresholding", false, file)) {
    s.threshold = value(json, "dynamic_thresholding_ratio", 0.995, file);
    s.max_threshold = value(json, "sample_max_value", 1.0, file);
  }
  const auto spacing = value<std::string>(json, "timestep_spacing", usual.spacing, file);
  if (spacing != "leading" && spacing != "trailing" && spacing != "linspace") {
    fail<FormatError>("{}: timestep_spacing must be leading, trailing or linspace; got {}", file,
                      spacing);
  }
  s.spacing = spacing == "linspace" ? "even" : spacing;
  if (value(json, "use_karras_sigmas", false, file)) s.spacing = "karras";
  s.steps_offset = value<std::int64_t>(json, "steps_offset", 0, file);
  const auto variance = value<std::string>(json, "variance_type", "fixed_small", file);
  if (variance == "fixed_small" || variance == "fixed_small_log") {
    s.variance = "beta-tilde";
  } else if (variance == "fixed_large" || variance == "fixed_large_log") {
    s.variance = "beta";
  } else if (variance == "learned_range") {
    s.variance = "learned";
  } else {
    fail<FormatError>("{}: variance_type must be fixed_small, fixed_large or learned_range; got {}",
                      file, variance);
  }
  return s;
}

// What the rest of the keys say of diffusers' own sampler, as one notice.
void note_unused(const Json& json, const std::string& file, std::vector<std::string>& notices) {
  static const std::set<std::string> used = {"num_train_timesteps",
                                             "beta_start",
                                             "beta_end",
                                             "beta_schedule",
                                             "trained_betas",
                                             "rescale_betas_zero_snr",
                                             "prediction_type",
                                             "clip_sample",
                                             "clip_sample_range",
                                             "thresholding",
                                             "dynamic_thresholding_ratio",
                                             "sample_max_value",
                                             "timestep_spacing",
                                             "use_karras_sigmas",
                                             "steps_offset",
                                             "variance_type"};
  std::vector<std::string> unused;
  for (const auto& [key, got] : json.items()) {
    const bool says_nothing = got.is_null() || got == Json(false) || got == Json::array();
    if (key.starts_with("_") || used.count(key) > 0 || says_nothing) continue;
    unused.push_back(fmt::format("{} {}", key, got.dump()));
  }
  if (unused.empty()) return;
  notices.push_back(fmt::format("{}: of diffusers' own sampler, not used by ito's: {}", file,
                                fmt::join(unused, ", ")));
}

}  // namespace

std::vector<std::string> read_diffusers_scheduler(const std::string& text, const std::string& file,
                                                  ModelCard& card) {
  const Json json = parse_object(text, file);
  std::vector<std::string> notices;
  const SchedulerClass& usual = class_of(json, file, notices);
  for (const char* key : {"use_flow_sigmas", "flow_shift", "shift"}) {
    if (!json.contains(key)) continue;
    const bool flow = json[key] == Json(true) || (json[key].is_number() && json[key] != Json(1.0));
    if (flow)
      fail<FormatError>("{}: {} {}: flow matching is not the noise of DDPM", file, key,
                        json[key].dump());
  }
  card.parametrization.prediction = prediction_of(json, file);
  card.sampling = sampling_of(json, usual, file);
  try {
    set_schedule(betas_of(json, usual, file), card);
    card.parametrization.expect_usable(card.noise_schedule());  // also refuses what are no betas
  } catch (const ValueError& e) {
    fail<FormatError>("{}: {}", file, e.what());
  }
  note_unused(json, file, notices);
  return notices;
}

std::string diffusers_scheduler_config(const ModelCard& card) {
  const Prediction prediction = card.parametrization.prediction;
  const char* predicts = prediction == Prediction::epsilon ? "epsilon"
                         : prediction == Prediction::x0    ? "sample"
                         : prediction == Prediction::v     ? "v_prediction"
                                                           : nullptr;
  if (predicts == nullptr || card.parametrization != Parametrization{.prediction = prediction}) {
    fail<ValueError>("diffusers predicts epsilon, x0 or v; got {}", name_of(prediction));
  }
  const bool learned = card.network.out_channels == 2 * card.network.in_channels;
  const SamplingDefaults& s = card.sampling;
  const bool named =
      card.schedule == "linear" || card.schedule == "quadratic" || card.schedule == "cosine";
  const Json json = {
      {"_class_name", "DDPMScheduler"},
      {"_diffusers_version", version},
      {"num_train_timesteps", card.timesteps},
      {"beta_start", 1e-4},
      {"beta_end", 0.02},
      {"beta_schedule", card.schedule == "quadratic" ? "scaled_linear"
                        : card.schedule == "cosine"  ? "squaredcos_cap_v2"
                                                     : "linear"},
      {"trained_betas", named ? Json(nullptr) : Json(betas_of(card.noise_schedule()))},
      {"rescale_betas_zero_snr", false},
      {"prediction_type", predicts},
      {"variance_type", learned                      ? "learned_range"
                        : s.variance == "beta-tilde" ? "fixed_small"
                                                     : "fixed_large"},
      {"clip_sample", s.clip > 0.0},
      {"clip_sample_range", s.clip > 0.0 ? s.clip : 1.0},
      {"thresholding", s.threshold > 0.0},
      {"dynamic_thresholding_ratio", s.threshold > 0.0 ? s.threshold : 0.995},
      {"sample_max_value", s.max_threshold},
      {"timestep_spacing", s.spacing == "trailing" ? "trailing"
                           : s.spacing == "even"   ? "linspace"
                                                   : "leading"},
      {"steps_offset", s.steps_offset}};
  return json.dump(2) + "\n";
}

}  // namespace ito
