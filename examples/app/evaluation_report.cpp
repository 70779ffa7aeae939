#include "examples/app/evaluation_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <nlohmann/json.hpp>
#include <numbers>

#include "autograd/ops/indexing.h"
#include "autograd/ops/layout.h"
#include "diffusion/evaluation/frechet.h"
#include "diffusion/sampling/samplers.h"
#include "nn/fingerprint.h"
#include "tensor/check.h"

namespace ito::app {
namespace {

using Json = nlohmann::ordered_json;

double bits(double nats) { return nats / std::numbers::ln2; }

// The terms between the prior and the decoder.
double denoising_nats(const BoundTable& table) {
  return table.total() - table.prior - table.nats.front();
}

std::string bound_text(const BoundReport& bound) {
  const BoundTable& table = bound.table;
  std::string text = fmt::format(
      "\nbits per dimension of {} images of the {} split, {} steps, variance {}{}\n"
      "  prior        {:8.4f}\n"
      "  denoising    {:8.4f}\n"
      "  decoder      {:8.4f}\n"
      "  sum          {:8.4f} +- {:.4f}\n",
      table.images(), bound.split, table.nats.size(), bound.variance,
      bound.draws > 0 ? fmt::format(", estimated from {} of the terms of each", bound.draws) : "",
      bits(table.prior), bits(denoising_nats(table)), bits(table.nats.front()),
      table.bits_per_dimension(), table.standard_error_bits());
  if (bound.draws > 0) return text;  // a single term is noise
  text +=
      "\n  at some steps t: the term, the sum of terms up to it, the error of x_0 (rms, of 255)\n"
      "       t    bits of term    bits up to it    error\n";
  const auto timesteps = static_cast<std::int64_t>(table.nats.size());
  for (const std::int64_t t : visited_timesteps(timesteps, std::min<std::int64_t>(11, timesteps))) {
    const auto i = static_cast<std::size_t>(t);
    text += fmt::format("  {:6d}    {:12.6f}    {:13.4f}    {:5.1f}\n", t, bits(table.nats[i]),
                        table.bits_per_dimension() - bits(table.rate(t)),
                        127.5 * std::sqrt(table.x0_error[i]));
  }
  return text;
}

std::string proxy_text(const ProxyReport& proxy) {
  std::string text =
      proxy.classifier.empty()
          ? fmt::format("\ndistances on {} features; reference: {}\n", proxy.features,
                        proxy.reference)
          : fmt::format(
                "\nproxy distances, on the {} features of {}\n"
                "(accuracy {:.4f} on the test split): for comparing models measured alike, not "
                "FID\n"
                "or KID as published; reference: {} images of the train split\n",
                proxy.features, proxy.classifier, proxy.test_accuracy, proxy.reference);
  text += fmt::format("  {:<52} {:>5}  {:>8}  {:>18}  {:>9}  {:>6}  {:>8}\n", "", "n", "Fréchet",
                      "kernel x 1000", "precision", "recall", "accuracy");
  for (const ProxyRow& row : proxy.rows) {
    if (row.count < proxy.features) {
      text += fmt::format(
          "  (fewer rows than features, {} < {}: their covariance is singular and the Fréchet "
          "distance too large)\n",
          row.count, proxy.features);
    }
    text += fmt::format(
        "  {:<52} {:>5}  {:>8.4f}  {:>18}  {:>9.3f}  {:>6.3f}  {:>8}\n", row.name, row.count,
        row.frechet,
        fmt::format("{:.3f} +- {:.3f}", 1e3 * row.kernel.value, 1e3 * row.kernel.standard_error),
        row.regions.precision, row.regions.recall,
        std::isnan(row.accuracy) ? "-" : fmt::format("{:.4f}", row.accuracy));
  }
  return text;
}

Json bound_json(const BoundReport& bound) {
  const BoundTable& table = bound.table;
  Json by_timestep = Json::array();
  for (std::size_t t = 0; t < table.nats.size(); ++t) {
    by_timestep.push_back({{"t", t},
                           {"bits", bits(table.nats[t])},
                           {"x0_error", table.x0_error[t]},
                           {"eps_error", table.eps_error[t]}});
  }
  return {{"images", table.images()},
          {"split", bound.split},
          {"variance", bound.variance},
          {"draws", bound.draws},
          {"prior", bits(table.prior)},
          {"denoising", bits(denoising_nats(table))},
          {"decoder", bits(table.nats.front())},
          {"bits_per_dimension", table.bits_per_dimension()},
          {"standard_error", table.standard_error_bits()},
          {"by_timestep", by_timestep}};
}

Json proxy_json(const ProxyReport& proxy) {
  Json rows = Json::array();
  for (const ProxyRow& row : proxy.rows) {
    rows.push_back({{"images", row.name},
                    {"n", row.count},
                    {"frechet", row.frechet},
                    {"kernel", row.kernel.value},
                    {"kernel_standard_error", row.kernel.standard_error},
                    {"precision", row.regions.precision},
                    {"recall", row.regions.recall},
                    {"accuracy", row.accuracy}});  // null when it is NaN
  }
  return {{"classifier", proxy.classifier},
          {"classifier_test_accuracy", proxy.test_accuracy},
          {"features", proxy.features},
          {"reference", proxy.reference},
          {"rows", rows}};
}

void expect_finite(const std::string& name, const Tensor& features) {
  const std::vector<double> values =
      cast(features.to(Device::cpu()), DType::f64).to_vector<double>();
  for (std::size_t i = 0; i < values.size(); ++i) {
    const auto columns = static_cast<std::size_t>(features.size(1));
    if (std::isfinite(values[i])) continue;
    fail<ValueError>("{}: features must be finite; got {} in row {}, column {}", name, values[i],
                     i / columns, i % columns);
  }
}

// n of the rows, without system: those whose bytes have the least fingerprints.
Tensor some_rows(const Tensor& features, std::int64_t n) {
  if (n == features.size(0)) return features;
  const Tensor x = features.to(Device::cpu());
  const std::size_t row_bytes = x.bytes() / static_cast<std::size_t>(x.size(0));
  std::vector<std::pair<std::string, std::int64_t>> rows;
  for (std::int64_t i = 0; i < x.size(0); ++i) {
    const auto* row =
        static_cast<const std::byte*>(x.raw()) + static_cast<std::size_t>(i) * row_bytes;
    rows.emplace_back(nn::fingerprint(row, row_bytes), i);
  }
  std::sort(rows.begin(), rows.end());
  std::vector<std::int64_t> chosen;
  for (std::int64_t i = 0; i < n; ++i) chosen.push_back(rows[static_cast<std::size_t>(i)].second);
  return gather(x, Tensor::from(chosen, {n}));
}

}  // namespace

ProxyRow compare_features(const std::string& name, const Tensor& features, const Tensor& reference,
                          const std::function<void(double share)>& progress) {
  expect_rank("evaluate", "features", features, 2);
  expect_shape("evaluate", "reference", reference, {reference.size(0), features.size(1)});
  expect_finite(name, features);
  expect_finite("reference", reference);
  const std::int64_t equal = std::min(features.size(0), reference.size(0));
  ProxyRow row;
  row.name = name;
  row.count = features.size(0);
  row.frechet = frechet_distance(feature_statistics(features), feature_statistics(reference));
  row.kernel = kernel_distance(features, reference);
  row.regions =
      precision_recall(some_rows(reference, equal), some_rows(features, equal), 3, progress);
  return row;
}

std::string EvaluationReport::to_text() const {
  std::string text;
  for (const auto& [name, value] : facts) text += fmt::format("{:<12} {}\n", name, value);
  if (bound) text += bound_text(*bound);
  if (proxy) text += proxy_text(*proxy);
  return text;
}

std::string EvaluationReport::to_json() const {
  Json json = Json::object();
  for (const auto& [name, value] : facts) json[name] = value;
  if (bound) json["bound"] = bound_json(*bound);
  if (proxy) json["proxy"] = proxy_json(*proxy);
  return json.dump(2) + "\n";
}

}  // namespace ito::app
