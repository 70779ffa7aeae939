#include "nn/lr_schedule.h"

#include <doctest/doctest.h>

#include <cmath>

#include "tensor/error.h"

using namespace ito;

TEST_CASE("LrSchedule: constant without a warm-up") {
  const auto lr = nn::LrSchedule::constant(2e-4);
  for (const std::int64_t step : {0, 1, 1000000}) CHECK(lr(step) == 2e-4);
}

TEST_CASE("LrSchedule: the warm-up is linear, starts above zero and ends at the peak") {
  const auto lr = nn::LrSchedule::constant(1.0, 4);
  CHECK(lr(0) == 0.25);
  CHECK(lr(1) == 0.5);
  CHECK(lr(3) == 1.0);
  CHECK(lr(4) == 1.0);
  CHECK(lr(1000000) == 1.0);
}

TEST_CASE("LrSchedule: the cosine passes its ends and its middle") {
  const auto lr = nn::LrSchedule::cosine(1.0, 10, 110, 0.2);
  CHECK(lr(4) == 0.5);
  CHECK(lr(10) == doctest::Approx(1.0).epsilon(1e-15));
  CHECK(lr(60) == doctest::Approx(0.6).epsilon(1e-15));
  CHECK(lr(35) == doctest::Approx(0.2 + 0.8 * (1 + std::sqrt(0.5)) / 2).epsilon(1e-15));
  CHECK(lr(110) == 0.2);
  CHECK(lr(1000) == 0.2);
  for (std::int64_t s = 10; s < 110; ++s) CHECK(lr(s + 1) < lr(s));
}

TEST_CASE("LrSchedule: rates and lengths that make no sense are refused") {
  CHECK_THROWS_AS(nn::LrSchedule::constant(-1.0), ValueError);
  CHECK_THROWS_AS(nn::LrSchedule::constant(NAN), ValueError);
  CHECK_THROWS_AS(nn::LrSchedule::constant(1.0, -1), ValueError);
  CHECK_THROWS_WITH_AS(nn::LrSchedule::cosine(1.0, 10, 10),
                       "LrSchedule: total must exceed warmup; got total = 10, warmup = 10",
                       ValueError);
  CHECK_THROWS_AS(nn::LrSchedule::cosine(1.0, 0, 10, 2.0), ValueError);
}
