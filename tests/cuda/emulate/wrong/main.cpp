// usage: cuda_wrong_kernels CASE right|wrong
// Runs a case with threads and blocks in several orders; exits 1 and says what is wrong with the
// result. What a sanitizer or the emulator finds ends the program before.
#include <bit>
#include <cmath>
#include <cstdio>
#include <cstring>

#include "cuda/emulate/emulate.h"
#include "tests/cuda/emulate/wrong/case.h"

namespace ito::wrong {

std::vector<Case>& cases() {
  static std::vector<Case> all;
  return all;
}

namespace {

int check(const Case& c, bool right) {
  using emulate::Order;
  const std::vector<std::pair<Order, std::uint32_t>> orders = {
      {Order::forward, 1}, {Order::reversed, 1}, {Order::shuffled, 1}, {Order::shuffled, 2}};
  std::vector<Values> results;
  for (const auto& [order, seed] : orders) {
    emulate::set_order(order, seed);
    results.push_back(c.run(right));
  }
  int findings = 0;
  const Values& first = results.front();
  for (const Values& other : results) {
    if (other.size() == first.size() &&
        std::memcmp(other.data(), first.data(), first.size() * sizeof(float)) == 0)
      continue;
    std::puts("the result depends on the order of the threads");
    ++findings;
    break;
  }
  for (std::size_t i = 0; i < first.size(); ++i) {
    if (first[i] == c.expected[i]) continue;
    std::printf("result %zu is %g, not %g\n", i, static_cast<double>(first[i]),
                static_cast<double>(c.expected[i]));
    ++findings;
    break;
  }
  return findings > 0 ? 1 : 0;
}

}  // namespace
}  // namespace ito::wrong

int main(int argc, char** argv) {
  for (const auto& c : ito::wrong::cases())
    if (argc == 3 && c.name == argv[1]) return ito::wrong::check(c, argv[2][0] == 'r');
  std::puts("usage: cuda_wrong_kernels CASE right|wrong; cases:");
  for (const auto& c : ito::wrong::cases()) std::puts(c.name.c_str());
  return 2;
}
