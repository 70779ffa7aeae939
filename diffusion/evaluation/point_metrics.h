// Distances between two sets of points: are samples as near to the data as other data are?
//
//   const auto mmd = [](const Tensor& a, const Tensor& b) { return squared_mmd(a, b); };
//   std::vector<Tensor> draws;      // of data, by twos
//   for (int i = 0; i < 20; ++i)
//     draws.push_back(data::draw_points(data::PointSet::moons, rng, 1024));
//   const bool like_data = mmd(samples, draws[0]) < metric_floor(mmd, draws).limit();
//
// Points are [n, d] in f32 or f64; computed in f64 on the CPU, without history. A distance between
// finite sets of the same distribution is not 0: it has a floor that depends on n, and a number
// without its floor says little. All throw ShapeError.
#pragma once

#include <functional>
#include <vector>

#include "tensor/rng.h"

namespace ito {

/// The squared maximum mean discrepancy, E k(a, a') + E k(b, b') - 2 E k(a, b) over pairs of
/// different points (Gretton et al. 2012, JMLR 13, lemma 6): without bias, so around 0, and
/// negative as often, when both come from one distribution. k is the mean of the kernels
/// exp(-|x - y|^2 / (2 h^2)) over the bandwidths h; the default suits sets of variance 1.
double squared_mmd(const Tensor& a, const Tensor& b, const std::vector<double>& bandwidths);
double squared_mmd(const Tensor& a, const Tensor& b);

/// The squared sliced Wasserstein distance: along each of the directions, points sorted by their
/// projection are matched one to one; the mean over points and directions of the squared distances
/// of the projections (Bonneel et al. 2015). Both sets have n points.
///   directions [k, d], of unit length: see random_directions
double sliced_wasserstein(const Tensor& a, const Tensor& b, const Tensor& directions);

/// k directions uniform on the unit sphere, f64 [k, d].
Tensor random_directions(Rng& rng, std::int64_t k, std::int64_t d);

/// Of a metric between independent sets from the same distribution.
struct MetricFloor {
  double mean = 0.0;
  double deviation = 0.0;  ///< standard deviation
  double limit() const { return mean + 3.0 * deviation; }
};
/// Measures draws 0 and 1, 2 and 3, ...: at least two pairs. Throws ValueError otherwise.
MetricFloor metric_floor(const std::function<double(const Tensor&, const Tensor&)>& metric,
                         const std::vector<Tensor>& draws);

}  // namespace ito
