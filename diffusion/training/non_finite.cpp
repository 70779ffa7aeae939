#include "diffusion/training/non_finite.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "nn/finite.h"

namespace ito::training {
namespace {

using Json = nlohmann::ordered_json;

Json number(double x) { return std::isfinite(x) ? Json(x) : Json(fmt::format("{}", x)); }

}  // namespace

NonFiniteReport explain_non_finite(std::int64_t step, const StepTensors& r, double grad_norm,
                                   double lr, const nn::FlatParameters& flat) {
  std::vector<nn::NamedTensor> gradients = flat.views(flat.grads);
  std::reverse(gradients.begin(), gradients.end());
  const std::pair<const char*, std::vector<nn::NamedTensor>> stages[] = {
      {"input", r.inputs},
      {"parameter", flat.views(flat.values)},
      {"loss", {{"losses", r.losses}}},
      {"gradient of", gradients}};
  NonFiniteReport report{"nothing that is kept: only the gradient's norm overflowed", ""};
  Json first = nullptr;
  for (const auto& [kind, tensors] : stages) {
    const auto bad = nn::find_non_finite(tensors);
    if (!bad) continue;
    report.first_bad = fmt::format("{} {}", kind, bad->str());
    first = {{"kind", kind},
             {"name", bad->name},
             {"tensor", bad->tensor},
             {"element", bad->index},
             {"value", number(bad->value)}};
    break;
  }
  Json losses = Json::array();
  for (const float loss : r.losses.to_vector<float>()) losses.push_back(number(double{loss}));
  Json all = {{"step", step}, {"first_bad", first}};
  for (const auto& [name, tensor] : r.inputs) {
    if (tensor.dtype() == DType::i64) all[name] = tensor.to_vector<std::int64_t>();
  }
  if (r.t.defined()) all["timesteps"] = r.t.to_vector<std::int64_t>();
  all["losses"] = losses;
  all["grad_norm"] = number(grad_norm);
  all["lr"] = lr;
  report.json = all.dump(2) + "\n";
  return report;
}

}  // namespace ito::training
