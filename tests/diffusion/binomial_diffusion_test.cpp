// Diffusion of bits against enumeration: of three bits all eight states, and so all probabilities
// of the chain, can be written down from its one-step kernel alone.
#include "diffusion/process/binomial_diffusion.h"

#include <doctest/doctest.h>

#include <cmath>

#include "autograd/engine.h"
#include "autograd/ops/elementwise.h"
#include "autograd/ops/indexing.h"
#include "autograd/ops/layout.h"
#include "autograd/ops/linalg.h"
#include "autograd/ops/reduce.h"
#include "autograd/ops/softmax.h"
#include "diffusion/models/mlp.h"
#include "nn/adam.h"
#include "nn/lr_schedule.h"
#include "tensor/error.h"

using namespace ito;

namespace {

constexpr std::int64_t length = 3, states = 8;
using Matrix = std::vector<std::vector<double>>;  // [from][to]

double bit(std::size_t state, std::int64_t i) { return static_cast<double>((state >> i) & 1u); }

Tensor all_states() {
  std::vector<double> bits;
  for (std::size_t s = 0; s < states; ++s) {
    for (std::int64_t i = 0; i < length; ++i) bits.push_back(bit(s, i));
  }
  return Tensor::from(bits, {states, length});
}

// The probability of a state whose bits are 1 with probabilities p[0 .. length).
double probability_of(std::size_t state, const double* p) {
  double product = 1.0;
  for (std::int64_t i = 0; i < length; ++i) product *= bit(state, i) > 0 ? p[i] : 1.0 - p[i];
  return product;
}

// One step: a bit is kept, or replaced by the toss of a coin with probability beta.
Matrix one_step(double beta) {
  Matrix m(states, std::vector<double>(states));
  for (std::size_t from = 0; from < states; ++from) {
    double p[length];
    for (std::int64_t i = 0; i < length; ++i) p[i] = (1.0 - beta) * bit(from, i) + beta / 2;
    for (std::size_t to = 0; to < states; ++to) m[from][to] = probability_of(to, p);
  }
  return m;
}

Matrix product(const Matrix& a, const Matrix& b) {
  Matrix c(states, std::vector<double>(states));
  for (std::size_t i = 0; i < states; ++i) {
    for (std::size_t k = 0; k < states; ++k) {
      for (std::size_t j = 0; j < states; ++j) c[i][j] += a[i][k] * b[k][j];
    }
  }
  return c;
}

// reach[t + 1][x0][x_t] = q(x_t | x_0), and reach[0] the identity.
std::vector<Matrix> reach(const NoiseSchedule& schedule) {
  Matrix identity(states, std::vector<double>(states));
  for (std::size_t s = 0; s < states; ++s) identity[s][s] = 1.0;
  std::vector<Matrix> list = {identity};
  for (std::int64_t t = 0; t < schedule.timesteps(); ++t) {
    list.push_back(product(list.back(), one_step(schedule.beta(t))));
  }
  return list;
}

Tensor timesteps(std::int64_t t, std::int64_t n) {
  return Tensor::full({n}, static_cast<double>(t), DType::i64);
}

// Data: one of three bits is 1, each as likely. The states are 1, 2 and 4.
const std::vector<std::size_t> data_states = {1, 2, 4};

// The logits of E[x_0 | x_t] by Bayes' rule over the data.
BitNetwork exact_model(const NoiseSchedule& schedule) {
  const std::vector<Matrix> q = reach(schedule);
  return [q](const Tensor& x_t, const Tensor& t) {
    std::vector<double> logits;
    for (std::int64_t n = 0; n < x_t.size(0); ++n) {
      std::size_t state = 0;
      for (std::int64_t i = 0; i < length; ++i) {
        if (x_t.data<double>()[n * length + i] > 0.5) state |= std::size_t{1} << i;
      }
      const Matrix& to_t = q[static_cast<std::size_t>(t.data<std::int64_t>()[n]) + 1];
      double total = 0.0, p[length] = {};
      for (const std::size_t x0 : data_states) {
        total += to_t[x0][state];
        for (std::int64_t i = 0; i < length; ++i) p[i] += to_t[x0][state] * bit(x0, i);
      }
      for (const double one : p) logits.push_back(std::log(one / (total - one)));
    }
    return Tensor::from(logits, x_t.shape());
  };
}

// Its own estimate for every state and step: a model that is not exact.
Tensor bent_model(const Tensor& x_t, const Tensor& t) {
  const Tensor time = reshape(cast(t, DType::f64), Shape{t.numel(), 1});
  return 2.0 * x_t - 1.3 + sin(time + x_t);
}

// model[t][x_t][x_{t-1}] = p(x_{t-1} | x_t).
std::vector<Matrix> reverse_kernels(const BinomialDiffusion& process, const BitNetwork& model) {
  std::vector<Matrix> list;
  const Tensor x = all_states();
  for (std::int64_t t = 0; t < process.schedule.timesteps(); ++t) {
    const Tensor when = timesteps(t, states);
    const Tensor p = process.step_back(sigmoid(model(x, when)), x, when);
    Matrix m(states, std::vector<double>(states));
    for (std::size_t from = 0; from < states; ++from) {
      for (std::size_t to = 0; to < states; ++to) {
        m[from][to] = probability_of(to, p.data<double>() + from * length);
      }
    }
    list.push_back(m);
  }
  return list;
}

// The bound for x_0, as the library adds it up: the expectation over x_t is exact.
double bound(const BinomialDiffusion& process, const BitNetwork& model, std::size_t x0) {
  const std::vector<Matrix> q = reach(process.schedule);
  const Tensor x_t = all_states();
  const Tensor clean = expand(slice(x_t, 0, std::int64_t(x0), std::int64_t(x0) + 1), x_t.shape());
  double total = static_cast<double>(length) * process.prior_kl();
  for (std::int64_t t = 0; t < process.schedule.timesteps(); ++t) {
    const Tensor terms = process.bound_terms(model, clean, x_t, timesteps(t, states));
    for (std::size_t s = 0; s < states; ++s) {
      total += q[static_cast<std::size_t>(t) + 1][x0][s] * terms.data<double>()[s];
    }
  }
  return total;
}

// The same from its definition, E_q log(q(x_{1:T} | x_0) / p(x_{0:T})), one pair (x_{t-1}, x_t) at
// a time; no posterior, no divergence.
double bound_of_paths(const BinomialDiffusion& process, const BitNetwork& model, std::size_t x0) {
  const std::vector<Matrix> q = reach(process.schedule), p = reverse_kernels(process, model);
  double total = static_cast<double>(length) * std::log(2.0);  // -log p(x_T)
  for (std::int64_t t = 0; t < process.schedule.timesteps(); ++t) {
    const auto k = static_cast<std::size_t>(t);
    const Matrix forward = one_step(process.schedule.beta(t));
    for (std::size_t from = 0; from < states; ++from) {
      for (std::size_t to = 0; to < states; ++to) {
        const double weight = q[k][x0][from] * forward[from][to];
        if (weight > 0) total += weight * std::log(forward[from][to] / p[k][to][from]);
      }
    }
  }
  return total;
}

// p(x_0) of the model, all paths added up.
std::vector<double> likelihood(const BinomialDiffusion& process, const BitNetwork& model) {
  const std::vector<Matrix> p = reverse_kernels(process, model);
  std::vector<double> x(states, 1.0 / states);
  for (auto m = p.rbegin(); m != p.rend(); ++m) {
    std::vector<double> next(states);
    for (std::size_t from = 0; from < states; ++from) {
      for (std::size_t to = 0; to < states; ++to) next[to] += x[from] * (*m)[from][to];
    }
    x = next;
  }
  return x;
}

}  // namespace

TEST_CASE("binomial diffusion: the jump is the chain's steps multiplied") {
  for (const NoiseSchedule& schedule :
       {NoiseSchedule::jsd(6), NoiseSchedule::linear(6, 0.05, 0.4)}) {
    const BinomialDiffusion process{schedule};
    const std::vector<Matrix> q = reach(schedule);
    double worst = 0.0;
    for (std::int64_t t = 0; t < 6; ++t) {
      const Tensor p = process.probability(all_states(), timesteps(t, states));
      for (std::size_t from = 0; from < states; ++from) {
        for (std::size_t to = 0; to < states; ++to) {
          const double jump = probability_of(to, p.data<double>() + from * length);
          worst = std::max(worst, std::abs(jump - q[static_cast<std::size_t>(t) + 1][from][to]));
        }
      }
    }
    CHECK(worst < 1e-15 * 10);
    const Tensor fifth = process.probability(all_states(), timesteps(4, states));
    CHECK(max(abs(fifth - process.probability(all_states(), timesteps(3, states)))).item() > 1e-3);
  }
}

TEST_CASE("binomial diffusion: the step back is Bayes' rule") {
  const NoiseSchedule schedule = NoiseSchedule::jsd(6);
  const std::vector<Matrix> q = reach(schedule);
  const Tensor x_t = all_states();
  // The largest distance from q(x_{t-1} | x_0) q(x_t | x_{t-1}) / q(x_t | x_0).
  const auto distance = [&](const BinomialDiffusion& process) {
    double worst = 0.0;
    for (std::int64_t t = 0; t < 6; ++t) {
      const auto k = static_cast<std::size_t>(t);
      const Matrix forward = one_step(schedule.beta(t));
      for (std::size_t x0 = 0; x0 < states; ++x0) {
        const auto row = static_cast<std::int64_t>(x0);
        const Tensor clean = expand(slice(x_t, 0, row, row + 1), x_t.shape());
        const Tensor p = process.step_back(clean, x_t, timesteps(t, states));
        for (std::size_t to = 0; to < states; ++to) {
          for (std::size_t from = 0; from < states; ++from) {
            const double bayes = q[k][x0][from] * forward[from][to] / q[k + 1][x0][to];
            const double got = probability_of(from, p.data<double>() + to * length);
            worst = std::max(worst, std::abs(got - bayes));
          }
        }
      }
    }
    return worst;
  };
  CHECK(distance({schedule}) < 1e-14);
  CHECK(distance({NoiseSchedule::linear(6, 0.1, 0.9)}) > 0.01);
}

TEST_CASE("binomial diffusion: the bound is its definition, above the likelihood") {
  for (const NoiseSchedule& schedule :
       {NoiseSchedule::jsd(5), NoiseSchedule::linear(5, 0.05, 0.4)}) {
    const BinomialDiffusion process{schedule};
    const std::vector<double> p = likelihood(process, bent_model);
    for (std::size_t x0 = 0; x0 < states; ++x0) {
      const double got = bound(process, bent_model, x0);
      CHECK(std::abs(got - bound_of_paths(process, bent_model, x0)) < 1e-12);
      CHECK(got > -std::log(p[x0]));
    }
    // Leaving out the prior shows where coins have not been tossed for all bits.
    const double prior = static_cast<double>(length) * process.prior_kl();
    if (schedule.has_zero_terminal_snr()) {
      CHECK(prior == 0.0);
    } else {
      CHECK(prior > 1e-3);
    }
  }
}

TEST_CASE("binomial diffusion: the exact model's bound goes to the entropy as log(T) / T") {
  // A step draws its bits independently, though they are not: it errs where two change at once. A
  // bit is still tossed at t with probability t / T and then put right with probability 1 / t, so
  // that two meet with (1 / T)^2 at each of T steps, each time at a cost of about log T.
  const auto excess = [](std::int64_t T, bool told_time) {
    const BinomialDiffusion process{NoiseSchedule::jsd(T)};
    const BitNetwork exact = exact_model(process.schedule);
    const BitNetwork model = [&](const Tensor& x, const Tensor& t) {
      return exact(x, told_time ? t : Tensor::full(t.shape(), double(T / 2), DType::i64));
    };
    return bound(process, model, data_states[0]) - std::log(3.0);  // alike for all three
  };
  const double at_10 = excess(10, true), at_20 = excess(20, true), at_40 = excess(40, true);
  MESSAGE("excess over the entropy in nats at T = 10, 20, 40: ", at_10, ", ", at_20, ", ", at_40);
  CHECK(at_10 > 0.0);
  // T times the excess grows by the same amount with every doubling of T.
  CHECK(40 * at_40 - 20 * at_20 == doctest::Approx(20 * at_20 - 10 * at_10).epsilon(0.05));
  CHECK(20 * at_20 - 10 * at_10 > 0.1);
  CHECK(excess(40, false) > 3 * at_40);
}

TEST_CASE("binomial diffusion: samples come from the model's distribution") {
  const BinomialDiffusion process{NoiseSchedule::jsd(5)};
  const std::int64_t n = 20'000;
  const Tensor x = process.sample(bent_model, {n, length}, Rng(1, Purpose::test), DType::f64);
  std::vector<double> count(states);
  for (std::int64_t i = 0; i < n; ++i) {
    std::size_t state = 0;
    for (std::int64_t b = 0; b < length; ++b) {
      if (x.data<double>()[i * length + b] > 0.5) state |= std::size_t{1} << b;
    }
    count[state] += 1.0;
  }
  const auto chi_squared = [&](const std::vector<double>& p) {
    double sum = 0.0;
    for (std::size_t s = 0; s < states; ++s) {
      const double wanted = static_cast<double>(n) * p[s];
      sum += (count[s] - wanted) * (count[s] - wanted) / wanted;
    }
    return sum;
  };
  CHECK(chi_squared(likelihood(process, bent_model)) < 24.3);  // 7 degrees, p = 0.001
  const BitNetwork other = [](const Tensor& x_t, const Tensor& t) {
    return bent_model(x_t, t) + 0.1;
  };
  CHECK(chi_squared(likelihood(process, other)) > 24.3);
  // The rows of a batch do not depend on each other.
  Rng tail(1, Purpose::test);
  tail.seek(0, 100);
  const Tensor part = process.sample(bent_model, {50, length}, tail, DType::f64);
  CHECK(max(abs(part - slice(x, 0, 100, 150))).item() == 0.0);
}

TEST_CASE("binomial diffusion: add_noise tosses as often as it should") {
  const BinomialDiffusion process{NoiseSchedule::jsd(4)};
  const std::int64_t n = 40'000;
  Rng rng(2, Purpose::test);
  const Tensor ones = Tensor::full({n, 1}, 1.0, DType::f64);
  const Tensor x = process.add_noise(ones, timesteps(2, n), rand(rng, {n, 1}, DType::f64));
  CHECK(std::abs(mean(x).item() - 0.625) < 4 * 0.5 / 200);  // 1/4 kept, half of the rest
  CHECK_THROWS_AS(process.add_noise(ones, timesteps(2, n), Tensor::zeros({n, 2}, DType::f64)),
                  ShapeError);
  CHECK_THROWS_AS(process.probability(ones, timesteps(2, 5)), ShapeError);
}

TEST_CASE("binomial diffusion: a network learns the heartbeat") {
  // A 1 in every fifth place of 20, at one of five phases: log2(5) = 2.32 bits.
  constexpr std::int64_t bits = 20, period = 5, T = 40, steps = 500, batch = 256;
  std::vector<float> beats;
  for (std::int64_t phase = 0; phase < period; ++phase) {
    for (std::int64_t i = 0; i < bits; ++i) beats.push_back(i % period == phase ? 1.0f : 0.0f);
  }
  const Tensor heartbeats = Tensor::from(beats, {period, bits});
  const BinomialDiffusion process{NoiseSchedule::jsd(T)};
  Rng init(3, Purpose::init), rng(4, Purpose::noise);
  Mlp mlp({.dimensions = bits, .width = 64, .layers = 2, .octaves = 0}, init);
  nn::FlatParameters flat(mlp);
  nn::Adam adam(flat);
  const auto lr = nn::LrSchedule::cosine(1e-2, /*warmup=*/0, steps);
  const auto terms = [&](std::int64_t n) {
    const Tensor x0 = gather(heartbeats, randint(rng, 0, period, {n}));
    const Tensor t = randint(rng, 0, T, {n});
    const Tensor x_t = process.add_noise(x0, t, rand(rng, {n, bits}));
    return process.bound_terms(std::cref(mlp), x0, x_t, t);
  };
  const auto bits_of_bound = [&] {
    const NoGrad no_grad;
    return double(T) * mean(terms(20'000)).item() / std::log(2.0);
  };
  const double before = bits_of_bound();
  for (std::int64_t step = 0; step < steps; ++step) {
    flat.zero_grad();
    backward(mean(terms(batch)));
    adam.step(lr(step));
  }
  const double after = bits_of_bound();
  const Tensor x = process.sample(std::cref(mlp), {1000, bits}, Rng(5, Purpose::sample));
  // A sample is a heartbeat when it agrees with one of the five in all places.
  const Tensor agreement = matmul(x, heartbeats, false, true) +
                           matmul(1.0 - x, 1.0 - heartbeats, false, true);  // [1000, 5]
  const double valid = mean(max(agreement, {1}) >= Tensor::full({1000}, bits - 0.5)).item();
  MESSAGE("bits before and after: ", before, ", ", after, "; heartbeats among samples: ", valid);
  CHECK(before > 10.0);
  CHECK(after > std::log2(5.0) - 0.1);  // the standard error of the bound's estimate is below 0.03
  CHECK(after < 3.2);
  CHECK(valid > 0.75);
}
