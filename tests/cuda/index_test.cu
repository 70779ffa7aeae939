#include <doctest/doctest.h>

#include <cstdint>
#include <vector>

#include "cuda/index.h"

using namespace ito;

TEST_CASE("FastDivmod: the quotient of any two numbers below 2^63 is exact") {
  constexpr std::int64_t largest = INT64_MAX;
  std::vector<std::int64_t> divisors = {1, 2, 3, 5, 7, 10, 49, 641, 1000003};
  for (const int power : {16, 31, 32, 33, 61, 62}) {
    const std::int64_t d = std::int64_t{1} << power;
    divisors.insert(divisors.end(), {d - 1, d, d + 1});
  }
  divisors.insert(divisors.end(), {largest - 1, largest, 6700417, 4294967291});
  for (const std::int64_t d : divisors) {
    const cuda::FastDivmod divider(d);
    std::vector<std::int64_t> numbers = {0, 1, 2, 3, 12345678901, largest - 1, largest};
    // Around multiples of d, where a reciprocal that is off by one shows.
    for (const std::int64_t k :
         {std::int64_t{1}, std::int64_t{2}, std::int64_t{12345}, largest / d}) {
      if (k > largest / d) continue;
      numbers.push_back(k * d - 1);
      numbers.push_back(k * d);
      if (k * d < largest) numbers.push_back(k * d + 1);
    }
    for (const std::int64_t n : numbers) {
      CAPTURE(n);
      CAPTURE(d);
      CHECK(divider.quotient(n) == n / d);
    }
  }
}
