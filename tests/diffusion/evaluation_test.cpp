// Distances between sets of features against closed forms, other algorithms for the same quantity,
// and their expectations over sets drawn at random.
#include <doctest/doctest.h>

#include <cmath>

#include "autograd/ops/elementwise.h"
#include "autograd/ops/layout.h"
#include "autograd/ops/linalg.h"
#include "autograd/ops/random.h"
#include "autograd/ops/reduce.h"
#include "diffusion/evaluation/frechet.h"
#include "diffusion/evaluation/kernel_distance.h"
#include "diffusion/evaluation/precision_recall.h"
#include "tensor/error.h"

using namespace ito;

namespace {

Tensor normal(Rng& rng, std::int64_t n, std::int64_t d) { return randn(rng, {n, d}, DType::f64); }

Tensor identity(std::int64_t d) {
  Tensor eye = Tensor::zeros({d, d}, DType::f64);
  for (std::int64_t i = 0; i < d; ++i) eye.mutable_data<double>()[i * d + i] = 1.0;
  return eye;
}

double trace(const Tensor& m) { return sum(m * identity(m.size(0))).item(); }

Tensor diagonal(const std::vector<double>& d) {
  const auto n = static_cast<std::int64_t>(d.size());
  return identity(n) * Tensor::from(d, {n});
}

// An orthogonal matrix: the reflection at a random plane, twice.
Tensor rotation(Rng& rng, std::int64_t d) {
  Tensor q = identity(d);
  for (int i = 0; i < 2; ++i) {
    const Tensor u = normal(rng, d, 1);
    q = matmul(q, identity(d) - 2.0 / sum(square(u)).item() * matmul(u, u, false, true));
  }
  return q;
}

Tensor rotated(const Tensor& q, const std::vector<double>& d) {
  return matmul(matmul(q, diagonal(d)), q, false, true);
}

// tr (a b)^(1/2) by the coupled iteration of Newton and Schulz: no eigenvalues.
double trace_of_root(const Tensor& a, const Tensor& b) {
  const Tensor product = matmul(a, b), eye = identity(a.size(0));
  const double size = std::sqrt(sum(square(product)).item());
  Tensor y = product / size, z = eye;
  for (int i = 0; i < 60; ++i) {
    const Tensor t = 1.5 * eye - 0.5 * matmul(z, y);
    y = matmul(y, t);
    z = matmul(t, z);
  }
  return std::sqrt(size) * trace(y);
}

}  // namespace

TEST_CASE("feature_statistics: the mean and the unbiased covariance") {
  const Tensor x = Tensor::from<double>({1, 2, 3, 6, 5, 4}, {3, 2});
  const FeatureStatistics s = feature_statistics(x);
  CHECK(s.count == 3);
  CHECK(s.mean.to_vector<double>() == std::vector<double>{3, 4});
  CHECK(s.covariance.to_vector<double>() == std::vector<double>{4, 2, 2, 4});  // by n - 1 = 2
  const FeatureStatistics single = feature_statistics(cast(x, DType::f32));
  CHECK(single.covariance.to_vector<double>() == s.covariance.to_vector<double>());
}

TEST_CASE("frechet_distance: covariances with common axes, in closed form") {
  // |m1 - m2|^2 + sum (sqrt(a_i) - sqrt(b_i))^2
  Rng rng(1, Purpose::test);
  const Tensor q = rotation(rng, 4);
  const std::vector<double> a = {4, 1, 0.25, 0}, b = {9, 0.01, 0.25, 2};
  const Tensor m1 = Tensor::from<double>({1, 2, 3, 4}, {4}),
               m2 = Tensor::from<double>({1, 0, 3, 5}, {4});
  double wanted = 5.0, of_variances = 5.0;
  for (std::size_t i = 0; i < 4; ++i) {
    wanted += std::pow(std::sqrt(a[i]) - std::sqrt(b[i]), 2.0);
    of_variances += std::pow(a[i] - b[i], 2.0);
  }
  const double d = frechet_distance({m1, rotated(q, a), 0}, {m2, rotated(q, b), 0});
  CHECK(std::abs(d - wanted) < 1e-12 * wanted);
  CHECK(std::abs(d - of_variances) > 1.0);  // what comparing covariances entry by entry would say
}

TEST_CASE("frechet_distance: any pair of 2x2 covariances, in closed form") {
  // For 2x2 matrices tr M^(1/2) = sqrt(tr M + 2 sqrt(det M)).
  Rng rng(2, Purpose::test);
  const Tensor zero = Tensor::zeros({2}, DType::f64);
  for (int i = 0; i < 20; ++i) {
    const Tensor r1 = normal(rng, 2, 2), r2 = normal(rng, 2, 2);
    const Tensor s1 = matmul(r1, r1, true), s2 = matmul(r2, r2, true);
    const auto det = [](const Tensor& m) {
      const std::vector<double> v = m.to_vector<double>();
      return v[0] * v[3] - v[1] * v[2];
    };
    const double root = std::sqrt(trace(matmul(s1, s2)) + 2.0 * std::sqrt(det(s1) * det(s2)));
    const double wanted = trace(s1) + trace(s2) - 2.0 * root;
    CHECK(std::abs(frechet_distance({zero, s1, 0}, {zero, s2, 0}) - wanted) < 1e-10);
    // The product of the roots is not the root of the product unless the axes are common.
    const double r = std::sqrt(det(s1)), s = std::sqrt(det(s2));
    const Tensor root1 = (s1 + r * identity(2)) / std::sqrt(trace(s1) + 2.0 * r);
    const Tensor root2 = (s2 + s * identity(2)) / std::sqrt(trace(s2) + 2.0 * s);
    CHECK(std::abs(trace(matmul(root1, root2)) - root) > 1e-6);
  }
}

TEST_CASE("frechet_distance: agrees with the iteration of Newton and Schulz in many dimensions") {
  Rng rng(3, Purpose::test);
  const FeatureStatistics a = feature_statistics(normal(rng, 200, 24));
  const FeatureStatistics b =
      feature_statistics(matmul(normal(rng, 90, 24), normal(rng, 24, 24)) + 0.3);
  const double wanted = sum(square(a.mean - b.mean)).item() + trace(a.covariance) +
                        trace(b.covariance) - 2.0 * trace_of_root(a.covariance, b.covariance);
  CHECK(std::abs(frechet_distance(a, b) - wanted) < 1e-8 * wanted);
  CHECK(std::abs(frechet_distance(b, a) - wanted) < 1e-8 * wanted);
}

TEST_CASE("frechet_distance: a set is at 0 from itself, also with fewer features than dimensions") {
  Rng rng(4, Purpose::test);
  for (const std::int64_t n : {100, 5}) {
    const Tensor x = 3.0 * normal(rng, n, 16) + 1.0;
    const FeatureStatistics s = feature_statistics(x);
    CHECK(std::abs(frechet_distance(s, s)) < 1e-11 * trace(s.covariance));
    const FeatureStatistics shifted = feature_statistics(x + 0.5);
    CHECK(frechet_distance(s, shifted) == doctest::Approx(16 * 0.25).epsilon(1e-9));
  }
}

TEST_CASE("frechet_distance: two sets from one distribution are apart by C / n") {
  // For n features of N(0, I) in d dimensions: 2 d / n from the means and, as (S1 - S2)^2 / 4 to
  // second order, d (d + 1) / (2 n) from the covariances.
  constexpr std::int64_t d = 4, repeats = 400;
  const double constant = 2.0 * d + d * (d + 1) / 2.0;
  Rng rng(5, Purpose::test);
  for (const std::int64_t n : {250, 1000}) {
    double total = 0.0;
    for (std::int64_t i = 0; i < repeats; ++i) {
      total += frechet_distance(feature_statistics(normal(rng, n, d)),
                                feature_statistics(normal(rng, n, d)));
    }
    const double scaled = total / static_cast<double>(repeats) * static_cast<double>(n);
    CHECK(scaled == doctest::Approx(constant).epsilon(0.07));  // its standard error is 2 %
    CHECK(scaled > 1.5 * 2.0 * d);                             // the means alone would give 8
  }
}

TEST_CASE("kernel_distance: the sums over pairs of its definition") {
  Rng rng(6, Purpose::test);
  const Tensor x = normal(rng, 7, 3), y = 1.5 * normal(rng, 5, 3) + 0.2;
  const auto k = [](const Tensor& a, std::int64_t i, const Tensor& b, std::int64_t j) {
    const double product = sum(slice(a, 0, i, i + 1) * slice(b, 0, j, j + 1)).item();
    return std::pow(product / 3.0 + 1.0, 3.0);
  };
  double xx = 0, yy = 0, xy = 0, biased = 0;
  for (std::int64_t i = 0; i < 7; ++i) {
    for (std::int64_t j = 0; j < 7; ++j) (i == j ? biased : xx) += k(x, i, x, j);
    for (std::int64_t j = 0; j < 5; ++j) xy += k(x, i, y, j);
  }
  for (std::int64_t i = 0; i < 5; ++i) {
    for (std::int64_t j = 0; j < 5; ++j) yy += i == j ? 0 : k(y, i, y, j);
  }
  const double wanted = xx / 42 + yy / 20 - 2 * xy / 35;
  CHECK(std::abs(kernel_distance(x, y).value - wanted) < 1e-12);
  CHECK(std::abs(kernel_distance(y, x).value - wanted) < 1e-12);
  const double with_pairs_of_one = (xx + biased) / 49 + yy / 20 - 2 * xy / 35;
  CHECK(std::abs(kernel_distance(x, y).value - with_pairs_of_one) > 1e-2);
}

TEST_CASE("kernel_distance: its expectation is the difference of moments, and it knows its error") {
  // In one dimension the kernel is (x y + 1)^3 = x^3 y^3 + 3 x^2 y^2 + 3 x y + 1, so the distance
  // is that of the moments: (m3 - m3')^2 + 3 (m2 - m2')^2 + 3 (m1 - m1')^2.
  constexpr int repeats = 400;
  Rng rng(7, Purpose::test);
  for (const double shift : {0.0, 0.4}) {
    const double m1 = shift, m2 = 1.0 + shift * shift, m3 = 3.0 * shift + std::pow(shift, 3.0);
    const double wanted = m3 * m3 + 3.0 * (m2 - 1.0) * (m2 - 1.0) + 3.0 * m1 * m1;
    double total = 0.0, squares = 0.0, errors = 0.0;
    for (int i = 0; i < repeats; ++i) {
      const auto [value, error] = kernel_distance(normal(rng, 300, 1), normal(rng, 200, 1) + shift);
      total += value;
      squares += value * value;
      errors += error * error;
    }
    const double average = total / repeats;
    const double spread = std::sqrt(squares / repeats - average * average);
    CHECK(std::abs(average - wanted) < 4.0 * spread / std::sqrt(repeats));
    const double told = std::sqrt(errors / repeats);
    if (shift > 0.0) CHECK(told == doctest::Approx(spread).epsilon(0.15));
    CHECK(told > 0.5 * spread);
    CHECK(told < 3.0 * spread);
  }
}

TEST_CASE("kernel_distance: more features than one block of the kernel's matrix") {
  Rng rng(8, Purpose::test);
  const Tensor x = normal(rng, 1500, 2), y = normal(rng, 1100, 2) + 1.0;
  // (x y / 2 + 1)^3 through the sums of its monomials: each pair sum is a product of moments.
  const auto moments = [](const Tensor& a, double& own) {
    const Tensor u = slice(a, 1, 0, 1) / std::sqrt(2.0), v = slice(a, 1, 1, 2) / std::sqrt(2.0);
    const double r3 = std::sqrt(3.0), r6 = std::sqrt(6.0);
    const Tensor f =
        concat({Tensor::full({a.size(0), 1}, 1.0, DType::f64), r3 * u, r3 * v, r3 * u * u,
                r3 * v * v, r6 * u * v, u * u * u, v * v * v, r3 * u * u * v, r3 * u * v * v});
    own = sum(square(f)).item();
    return sum(f, {0});
  };
  double own_x = 0, own_y = 0;
  const Tensor fx = moments(x, own_x), fy = moments(y, own_y);
  const double n = 1500, m = 1100;
  const double wanted = (sum(fx * fx).item() - own_x) / (n * (n - 1)) +
                        (sum(fy * fy).item() - own_y) / (m * (m - 1)) -
                        2.0 * sum(fx * fy).item() / (n * m);
  CHECK(kernel_distance(x, y).value == doctest::Approx(wanted).epsilon(1e-9));
}

TEST_CASE("precision_recall: points on a line, by hand") {
  const auto points = [](const std::vector<double>& x) {
    return Tensor::from(x, {static_cast<std::int64_t>(x.size()), 1});
  };
  const Tensor real = points({0, 1, 3, 10}), made = points({1.5, 2, 30, 45});
  // With k = 1 the balls are [-1, 1], [0, 2], [1, 5], [3, 17] of the real points, and [1, 2],
  // [1.5, 2.5], [15, 45], [30, 60] of the generated ones; they include their ends.
  const PrecisionRecall pr = precision_recall(real, made, 1);
  CHECK(pr.precision == 0.5);  // 1.5 and 2
  CHECK(pr.recall == 0.25);    // 1
  const PrecisionRecall wider = precision_recall(real, made, 2);
  CHECK(wider.precision == 0.5);
  CHECK(wider.recall == 1.0);  // [-27, 30] around 1.5
}

TEST_CASE("precision_recall: lost and invented modes show in the right one of the two") {
  Rng rng(9, Purpose::test);
  const auto blob = [&](double at, std::int64_t n) { return normal(rng, n, 8) + at; };
  const Tensor both = concat({blob(0, 200), blob(50, 200)}, 0);
  const Tensor one = blob(0, 200);
  const PrecisionRecall same = precision_recall(both, both);
  CHECK(same.precision == 1.0);
  CHECK(same.recall == 1.0);
  const PrecisionRecall lost = precision_recall(both, one);
  CHECK(lost.precision > 0.8);
  CHECK(lost.recall < 0.5);
  const PrecisionRecall invented = precision_recall(one, both);
  CHECK(invented.precision == lost.recall);
  CHECK(invented.recall == lost.precision);
  const PrecisionRecall nothing = precision_recall(one, blob(50, 100));
  CHECK(nothing.precision == 0.0);
  CHECK(nothing.recall == 0.0);
}

TEST_CASE("precision_recall: a generator that repeats one image has no recall") {
  Rng rng(10, Purpose::test);
  const Tensor real = normal(rng, 100, 4);
  const Tensor repeated = slice(real, 0, 0, 1) + Tensor::zeros({50, 4}, DType::f64);
  const PrecisionRecall pr = precision_recall(real, repeated);
  CHECK(pr.precision == 1.0);
  CHECK(pr.recall == 0.01);  // of balls of radius 0 only the repeated image is inside
}

TEST_CASE("precision_recall: the regions of its definition, far from the origin and with ties") {
  // 30 digits of a square around 1000 with steps of 0.25: distances are exact and often equal, and
  // smaller than what a product of the coordinates in f32 can tell.
  Rng rng(11, Purpose::test);
  const auto points = [&](std::int64_t n) {
    const Tensor steps = cast(randint(rng, 0, 12, {n, 2}), DType::f64);
    return 0.25 * steps + Tensor::from<double>({1000, -2000}, {1, 2});
  };
  const Tensor real = points(60), made = points(45) + Tensor::from<double>({1, 0}, {1, 2});
  const auto distance = [](const Tensor& a, std::int64_t i, const Tensor& b, std::int64_t j) {
    return sum(square(slice(a, 0, i, i + 1) - slice(b, 0, j, j + 1))).item();
  };
  const auto part_inside = [&](const Tensor& x, const Tensor& set) {
    double inside = 0;
    for (std::int64_t i = 0; i < x.size(0); ++i) {
      bool any = false;
      for (std::int64_t j = 0; j < set.size(0); ++j) {
        std::vector<double> d;
        for (std::int64_t other = 0; other < set.size(0); ++other) {
          if (other != j) d.push_back(distance(set, j, set, other));
        }
        std::sort(d.begin(), d.end());
        any = any || distance(x, i, set, j) <= d[2];
      }
      inside += any;
    }
    return inside / static_cast<double>(x.size(0));
  };
  double told = 0;
  const PrecisionRecall pr = precision_recall(real, made, 3, [&](double share) { told = share; });
  CHECK(pr.precision == part_inside(made, real));
  CHECK(pr.recall == part_inside(real, made));
  CHECK(pr.precision > 0.3);
  CHECK(pr.precision < 0.9);
  CHECK(told == 1.0);
}

TEST_CASE("evaluation: wrong features are refused") {
  const Tensor x = Tensor::zeros({4, 3}), y = Tensor::zeros({4, 2});
  const Tensor one = Tensor::zeros({1, 3}), bytes = Tensor::zeros({4, 3}, DType::u8);
  CHECK_THROWS_AS(feature_statistics(one), ValueError);
  CHECK_THROWS_AS(feature_statistics(bytes), DTypeError);
  CHECK_THROWS_AS(feature_statistics(Tensor::zeros({4})), ShapeError);
  CHECK_THROWS_AS(frechet_distance(feature_statistics(x), feature_statistics(y)), ShapeError);
  CHECK_THROWS_AS(kernel_distance(x, y), ShapeError);
  CHECK_THROWS_AS(kernel_distance(x, one), ValueError);
  CHECK_THROWS_AS(kernel_distance(bytes, x), DTypeError);
  CHECK_THROWS_AS(precision_recall(x, y), ShapeError);
  CHECK_THROWS_AS(precision_recall(x, one), ValueError);
  CHECK_THROWS_AS(precision_recall(x, x, 4), ValueError);
  CHECK_THROWS_AS(precision_recall(x, x, 0), ValueError);
}
