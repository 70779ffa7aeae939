// What `evaluate` found, as text for people and as JSON.
#pragma once

#include <cmath>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "diffusion/evaluation/kernel_distance.h"
#include "diffusion/evaluation/precision_recall.h"
#include "diffusion/likelihood/variational_bound.h"

namespace ito::app {

/// The bound on the likelihood of real images.
struct BoundReport {
  BoundTable table;
  std::string variance;    ///< of the reverse steps, by name
  std::string split;       ///< the images' split of the data set
  std::int64_t draws = 0;  ///< > 0: estimated from so many terms of each image
};

/// One set of images against the reference.
struct ProxyRow {
  std::string name;
  std::int64_t count = 0;
  double frechet = 0;
  KernelDistance kernel{};
  PrecisionRecall regions{};
  double accuracy = NAN;  ///< the classifier's, on images made for known classes
};

/// Features against features, f32 or f64 [n, D]: the distances against all of `reference`,
/// precision and recall among as many of each, chosen by their values, so that the order of rows
/// does not matter. `progress` is told the share of the work that is done. Throws ValueError for a
/// feature that is not finite.
ProxyRow compare_features(const std::string& name, const Tensor& features, const Tensor& reference,
                          const std::function<void(double share)>& progress = {});

struct ProxyReport {
  std::string classifier;      ///< file and fingerprint; empty: the features came from a file
  double test_accuracy = NAN;  ///< of the classifier
  std::int64_t features = 0;   ///< how many numbers an image becomes
  std::int64_t reference = 0;  ///< images of the train split for both distances
  std::vector<ProxyRow> rows;  ///< samples, floor, noise
};

struct EvaluationReport {
  std::vector<std::pair<std::string, std::string>> facts;  ///< name, value
  std::optional<BoundReport> bound;
  std::optional<ProxyReport> proxy;

  std::string to_text() const;
  std::string to_json() const;
};

}  // namespace ito::app
