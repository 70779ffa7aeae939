#!/usr/bin/env bash
# doctest 2.4.9 (Debian 12): Approx allows 1.2e-5 times (1 + the larger magnitude), so below 1 the tolerance is absolute.
# Any two numbers below 1.1e-5 are equal to it, also of opposite sign, and a test of small quantities, such as the last
# alphas_cumprod of a schedule (4e-5) or a learning rate, hardly tests anything. .scale(0) makes it relative.
# Seen:
#   4e-6 == Approx(8e-6): true, 1e-6 == Approx(-1e-6): true, 4e-6 == Approx(8e-6).scale(0): false
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
dpkg-query -W -f '${Package} ${Version} ${Status}\n' doctest-dev | grep -q '^doctest-dev 2.4.9.* ok installed' ||
  { echo "needs Debian's doctest-dev 2.4.9" >&2; exit 2; }
cat >main.cpp <<'CPP'
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include <cstdio>

int main() {
  const bool twice = 4e-6 == doctest::Approx(8e-6);
  const bool sign = 1e-6 == doctest::Approx(-1e-6);
  const bool relative = 4e-6 == doctest::Approx(8e-6).scale(0);
  const auto text = [](bool b) { return b ? "true" : "false"; };
  std::printf("4e-6 == Approx(8e-6): %s, 1e-6 == Approx(-1e-6): %s, 4e-6 == Approx(8e-6).scale(0): %s\n",
              text(twice), text(sign), text(relative));
  return twice && sign && !relative ? 0 : 1;
}
CPP
g++ -std=c++17 -O0 main.cpp -o main
./main
