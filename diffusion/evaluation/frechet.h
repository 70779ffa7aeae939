// The Fréchet distance between two sets of features, as in FID (Heusel et al. 2017, arXiv
// 1706.08500).
//
//   const Tensor real = classifier.features(images), made = classifier.features(samples);
//   const double distance = frechet_distance(feature_statistics(real), feature_statistics(made));
//
// The distance is that of the normal distributions with the sets' means and covariances. It is
// called FID only when the features are those of the published Inception network; with others it
// compares models that were measured on the same features alone. It is biased: sets of n features
// from one distribution are about C / n apart, so a number means something beside its n and beside
// the distance of two sets of real images of that size.
#pragma once

#include <cstdint>

#include "tensor/tensor.h"

namespace ito {

/// What the distance looks at.
struct FeatureStatistics {
  Tensor mean;             ///< f64 [D]
  Tensor covariance;       ///< f64 [D, D], unbiased: divided by count - 1
  std::int64_t count = 0;  ///< features it was estimated from
};

/// Of features [n, D], f32 or f64, on any device; computed in f64 on the CPU. Throws ValueError
/// when n < 2, ShapeError, DTypeError.
FeatureStatistics feature_statistics(const Tensor& features);

/// |m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2)), the squared 2-Wasserstein distance of N(m1, S1) and
/// N(m2, S2) (Dowson & Landau 1982). Covariances may be singular. Throws ShapeError.
double frechet_distance(const FeatureStatistics& a, const FeatureStatistics& b);

}  // namespace ito
