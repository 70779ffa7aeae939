// Points in the plane: small distributions to try diffusion on, where a sample can be seen at once.
//
//   Rng rng(42, Purpose::data);
//   const Tensor x0 = data::draw_points(data::PointSet::moons, rng, 4096);      // f64 [4096, 2]
//
// Each set has mean 0 and variance 1, averaged over the two coordinates, exactly:
//   x = sqrt(1 - s^2) c + s z,   c on a curve, a ring of centres or a board,   z ~ N(0, I).
// Row i depends on the state of the generator and on its sample number alone.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "tensor/enum_names.h"
#include "tensor/rng.h"

namespace ito::data {

/// gaussians     eight normal distributions, their centres on a circle
/// swiss_roll    a spiral of one and a half turns (Sohl-Dickstein et al. 2015)
/// moons         two half circles that reach into each other
/// checkerboard  uniform on the eight dark fields of a board of 4 x 4: a density with edges
enum class PointSet { gaussians, swiss_roll, moons, checkerboard };
constexpr EnumNames<PointSet, 4> enum_names(PointSet) {
  return {"points",
          {{PointSet::gaussians, "gaussians"},
           {PointSet::swiss_roll, "swiss-roll"},
           {PointSet::moons, "moons"},
           {PointSet::checkerboard, "checkerboard"}}};
}

inline constexpr std::array point_sets = {PointSet::gaussians, PointSet::swiss_roll,
                                          PointSet::moons, PointSet::checkerboard};

/// n points, [n, 2] in f32 or f64. Takes two draws of the generator.
Tensor draw_points(PointSet set, Rng& rng, std::int64_t n, DType dtype = DType::f64);

/// The centres and the standard deviation of PointSet::gaussians, which have equal weights.
struct RingOfGaussians {
  std::vector<std::array<double, 2>> centres;
  double stddev;
};
RingOfGaussians ring_of_gaussians();

/// Half the side of the checkerboard, sqrt(3): fields are half of that wide, and the field at
/// (column, row), counted from the lower left, is dark when column + row is even.
double checkerboard_half_side();

}  // namespace ito::data
