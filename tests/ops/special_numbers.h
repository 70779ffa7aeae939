// The numbers that are not finite.
#pragma once

#include <cmath>
#include <limits>

namespace ito::test {

inline constexpr double inf = std::numeric_limits<double>::infinity();
inline const double not_a_number = std::nan("");

}  // namespace ito::test
