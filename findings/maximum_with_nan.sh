#!/usr/bin/env bash
# maxCoeff of Eigen 3.4.0 (Debian 12): a NaN in the array can hide the true maximum without showing itself. With 1 to 8
# in an array of floats and one of them replaced by NaN, the answer depends on where: NaN in the first place gives NaN,
# in the second or fourth 7, although 8 stands in the array, and in places 3 and 5 to 7 it gives 8.
# maxCoeff<Eigen::PropagateNaN>() gives NaN always. Which places lose the maximum follows from the width of the vectors.
# Seen with g++ 12 and the flags below (SSE2), NaN in the place of
#   1: nan, 2: 7, 3: 8, 4: 7, 5: 8, 6: 8, 7: 8, 8: 7 (the true maximum of the rest); with PropagateNaN: nan always
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
dpkg-query -W -f '${Package} ${Version} ${Status}\n' libeigen3-dev | grep -q '^libeigen3-dev 3.4.0.* ok installed' ||
  { echo "needs Debian's libeigen3-dev 3.4.0" >&2; exit 2; }
cat >main.cpp <<'CPP'
#include <Eigen/Core>
#include <cmath>
#include <cstdio>

int main() {
  bool lost = false, hidden_always = true, propagated = true;
  for (int i = 0; i < 8; ++i) {
    Eigen::Array<float, Eigen::Dynamic, 1> a(8);
    for (int k = 0; k < 8; ++k) a[k] = static_cast<float>(k + 1);
    a[i] = std::nanf("");
    const float max = a.maxCoeff();
    std::printf("NaN in the place of %d: maxCoeff %g\n", i + 1, max);
    if (i < 7 && max < 8) lost = true;
    if (i == 0) hidden_always = !std::isnan(max);
    propagated = propagated && std::isnan(a.maxCoeff<Eigen::PropagateNaN>());
  }
  std::printf("with PropagateNaN: %s\n", propagated ? "nan always" : "a number");
  return lost && !hidden_always && propagated ? 0 : 1;
}
CPP
g++ -std=c++17 -O2 -I/usr/include/eigen3 main.cpp -o main
./main
