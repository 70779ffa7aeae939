#include "diffusion/evaluation/precision_recall.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "autograd/engine.h"
#include "autograd/ops/elementwise.h"
#include "autograd/ops/layout.h"
#include "autograd/ops/linalg.h"
#include "autograd/ops/reduce.h"
#include "tensor/check.h"
#include "tensor/error.h"

namespace ito {
namespace {

// Tells how many of all pairs of features have been compared.
struct PairsDone {
  const std::function<void(double share)>& progress;
  std::int64_t total, pairs = 0;

  void add(std::int64_t more) {
    pairs += more;
    if (progress) progress(static_cast<double>(pairs) / static_cast<double>(total));
  }
};

constexpr std::int64_t block_rows = 512;  // of a matrix of distances at a time

// Features as f64, and as f32 around `centre` for distances by a matrix product:
// |x - y|^2 = |x|^2 + |y|^2 - 2 x . y. These are wrong by up to margin(); where a decision is
// nearer than that, exact() makes it.
struct Features {
  Features(const Tensor& features, const Tensor& centre)
      : x(cast(features.to(Device::cpu()), DType::f64)),
        rounded(cast(x - centre, DType::f32)),
        square_lengths(sum(square(cast(rounded, DType::f64)), {1}).to_vector<double>()) {}

  std::int64_t count() const { return x.size(0); }

  Tensor x, rounded;
  std::vector<double> square_lengths;
};

// How far a distance by products may be from the right one: each of D products is rounded by a part
// in 2^24, and so is each feature.
double margin(const Features& x, std::size_t i, const Features& y, std::size_t j) {
  const double parts = 0x1p-24 * static_cast<double>(x.x.size(1) + 4);
  return parts * (x.square_lengths[i] + y.square_lengths[j]);
}

// By differences: equal features are at 0.
double exact(const Features& x, std::size_t i, const Features& y, std::size_t j) {
  const auto dimensions = static_cast<std::size_t>(x.x.size(1));
  const double *a = x.x.data<double>() + i * dimensions, *b = y.x.data<double>() + j * dimensions;
  double total = 0.0;
  for (std::size_t c = 0; c < dimensions; ++c) total += (a[c] - b[c]) * (a[c] - b[c]);
  return total;
}

// Calls use(i, distances) for each feature i of x, with its squared distances to all of y by
// products.
template <class Use>
void for_each_row(const Features& x, const Features& y, const Use& use, PairsDone& done) {
  std::vector<double> row(y.square_lengths.size());
  for (std::int64_t first = 0; first < x.count(); first += block_rows) {
    const std::int64_t rows = std::min(block_rows, x.count() - first);
    const Tensor products =
        matmul(slice(x.rounded, 0, first, first + rows), y.rounded, false, true);
    const float* product = products.data<float>();
    for (std::int64_t r = 0; r < rows; ++r, product += row.size()) {
      const auto i = static_cast<std::size_t>(first + r);
      for (std::size_t j = 0; j < row.size(); ++j) {
        row[j] = x.square_lengths[i] + y.square_lengths[j] - 2.0 * double{product[j]};
      }
      use(i, row);
    }
    done.add(rows * y.count());
  }
}

// The squared distance of every feature to its k-th nearest neighbour in the set.
std::vector<double> squared_radii(const Features& x, std::int64_t k, PairsDone& done) {
  const auto longest =
      static_cast<std::size_t>(std::max_element(x.square_lengths.begin(), x.square_lengths.end()) -
                               x.square_lengths.begin());
  std::vector<double> radii(x.square_lengths.size()), sorted, near;
  const auto kth = [k](std::vector<double>& values) {
    std::nth_element(values.begin(), values.begin() + k - 1, values.end());
    return values[static_cast<std::size_t>(k - 1)];
  };
  for_each_row(
      x, x,
      [&](std::size_t i, std::vector<double>& distances) {
        distances[i] = INFINITY;  // itself
        sorted = distances;
        const double bound = kth(sorted) + 2.0 * margin(x, i, x, longest);
        near.clear();
        for (std::size_t j = 0; j < distances.size(); ++j) {
          if (distances[j] <= bound) near.push_back(exact(x, i, x, j));
        }
        radii[i] = kth(near);
      },
      done);
  return radii;
}

}  // namespace

PrecisionRecall precision_recall(const Tensor& real, const Tensor& generated, std::int64_t k,
                                 const std::function<void(double share)>& progress) {
  for (const Tensor& features : {real, generated}) {
    expect_rank("precision_recall", "features", features, 2);
    expect_floating("precision_recall", "features", features);
    if (k < 1 || k >= features.size(0)) {
      fail<ValueError>("precision_recall: k must be in [1, {}), the number of features; got {}",
                       features.size(0), k);
    }
  }
  expect_shape("precision_recall", "generated", generated, {generated.size(0), real.size(1)});
  const NoGrad no_grad;
  const Tensor centre = mean(cast(real.to(Device::cpu()), DType::f64), {0});
  const Features x(real, centre), y(generated, centre);
  PairsDone done{progress, x.count() * (x.count() + y.count()) + y.count() * y.count()};
  const std::vector<double> x_radii = squared_radii(x, k, done),
                            y_radii = squared_radii(y, k, done);
  std::vector<char> x_inside(x_radii.size()), y_inside(y_radii.size());
  for_each_row(
      x, y,
      [&](std::size_t i, const std::vector<double>& distances) {
        for (std::size_t j = 0; j < distances.size(); ++j) {
          if (x_inside[i] && y_inside[j]) continue;
          const double doubt = margin(x, i, y, j);
          const auto within = [&](double radius) {
            if (std::abs(distances[j] - radius) > doubt) return distances[j] < radius;
            return exact(x, i, y, j) <= radius;
          };
          if (!x_inside[i]) x_inside[i] = within(y_radii[j]);
          if (!y_inside[j]) y_inside[j] = within(x_radii[i]);
        }
      },
      done);
  const auto share = [](const std::vector<char>& inside) {
    return static_cast<double>(std::count(inside.begin(), inside.end(), 1)) /
           static_cast<double>(inside.size());
  };
  return {share(y_inside), share(x_inside)};
}

}  // namespace ito
