// make_synthetic: shapes by signed distance. A pixel's coverage is 1/2 minus the distance of its
// centre from the outline, in pixels, clamped to [0, 1]; that is what antialiases the edges.
#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>

#include "data/dataset.h"
#include "data/names.h"
#include "tensor/parallel.h"
#include "tensor/rng.h"

namespace ito::data {
namespace {

struct Vector2 {
  float x, y;
};
using Colour = std::array<float, 3>;

float length(Vector2 p) { return std::sqrt(p.x * p.x + p.y * p.y); }

// Distances from the outline, negative inside, of shapes of radius about 1 around the origin; y
// grows downwards. Exact near the edges, or a lower bound of the distance, which is all that
// coverage needs.

float box(Vector2 p, float half_width, float half_height) {
  const float dx = std::abs(p.x) - half_width, dy = std::abs(p.y) - half_height;
  return length({std::max(dx, 0.0f), std::max(dy, 0.0f)}) + std::min(std::max(dx, dy), 0.0f);
}

float triangle(Vector2 p) {
  constexpr float sin60 = 0.8660254f;
  return std::max(sin60 * std::abs(p.x) - 0.5f * p.y, p.y) - 0.5f;
}

float star(Vector2 p) {
  // Five equal wedges: fold the angle into half of one and measure to the line from tip to notch.
  constexpr float wedge = 2.0f * std::numbers::pi_v<float> / 5.0f, notch = 0.45f;
  float angle = std::atan2(p.x, -p.y);
  angle = std::abs(angle - wedge * std::round(angle / wedge));
  const float radius = length(p);
  const Vector2 q{radius * std::sin(angle), radius * std::cos(angle)};
  const Vector2 edge{notch * std::sin(wedge / 2), notch * std::cos(wedge / 2) - 1.0f};
  return (edge.x * (q.y - 1.0f) - edge.y * q.x) / length(edge);  // the tip is at (0, 1)
}

float heart(Vector2 p) {
  // A square on its corner and a disc on each upper side. d: half of the square's diagonal.
  constexpr float d = 0.78f, root2 = std::numbers::sqrt2_v<float>;
  const float x = std::abs(p.x), y = p.y - 0.08f;
  const float square = (x + std::abs(y) - d) / root2;
  return std::min(square, length({x - d / 2, y + d / 2}) - d / root2);
}

float distance(std::int64_t kind, Vector2 p) {
  switch (kind) {
    case 0:
      return length(p) - 0.9f;  // disc
    case 1:
      return std::abs(length(p) - 0.72f) - 0.2f;  // ring
    case 2:
      return box(p, 0.76f, 0.76f);  // square
    case 3:
      return std::abs(box(p, 0.64f, 0.64f)) - 0.16f;  // frame
    case 4:
      return triangle({p.x, p.y - 0.15f});  // triangle
    case 5:
      return std::min(box(p, 0.95f, 0.26f), box(p, 0.26f, 0.95f));  // cross
    case 6:
      return star(p);  // star
    case 7:            // crescent
      return std::max(length(p) - 0.9f, 0.72f - length({p.x - 0.42f, p.y}));
    case 8:
      return length({std::max(std::abs(p.x) - 0.7f, 0.0f), p.y}) - 0.26f;  // bar
    default:
      return heart(p);
  }
}

/// Hue, saturation and value in [0, 1] to red, green, blue.
Colour from_hsv(float hue, float saturation, float value) {
  Colour colour{};
  for (std::size_t c = 0; c < 3; ++c) {
    const float shifted = hue * 6.0f + 6.0f - 2.0f * static_cast<float>(c);
    const float distance_to_peak = std::abs(std::fmod(shifted, 6.0f) - 3.0f);
    colour[c] = value * (1.0f - saturation * std::clamp(2.0f - distance_to_peak, 0.0f, 1.0f));
  }
  return colour;
}

constexpr std::int64_t kinds = 10, draws = 10;

void draw(std::uint8_t* image, std::int64_t size, int channels, std::int64_t kind, const float* u) {
  const auto side = static_cast<float>(size);
  const float radius = side * (0.22f + 0.16f * u[0]);
  const float travel = side - 2.0f * radius - 2.0f;
  const Vector2 centre{radius + 1.0f + travel * u[1], radius + 1.0f + travel * u[2]};
  const float tilt = (kind == 8 ? 2.0f : 0.5f) * (u[3] - 0.5f);  // radians
  const float cosine = std::cos(tilt), sine = std::sin(tilt);
  Colour paper{}, ink{0.7f + 0.3f * u[4], 0, 0};
  if (channels == 3) {
    paper = from_hsv(u[5], 0.4f + 0.4f * u[6], 0.10f + 0.25f * u[7]);
    ink = from_hsv(u[8], 0.3f + 0.6f * u[9], 0.7f + 0.3f * u[4]);
  }
  for (std::int64_t y = 0; y < size; ++y) {
    for (std::int64_t x = 0; x < size; ++x) {
      const float dx = (static_cast<float>(x) + 0.5f - centre.x) / radius;
      const float dy = (static_cast<float>(y) + 0.5f - centre.y) / radius;
      const Vector2 p{cosine * dx + sine * dy, cosine * dy - sine * dx};
      const float cover = std::clamp(0.5f - radius * distance(kind, p), 0.0f, 1.0f);
      for (std::size_t c = 0; c < static_cast<std::size_t>(channels); ++c) {
        const float value = paper[c] + cover * (ink[c] - paper[c]);
        *image++ = static_cast<std::uint8_t>(255.0f * value + 0.5f);
      }
    }
  }
}

}  // namespace

Dataset make_synthetic(std::int64_t n, std::uint64_t seed, const SyntheticOptions& options) {
  const std::int64_t size = options.size, first = options.first;
  const int channels = options.channels;
  if (n < 1 || first < 0 || size < 8 || size > 1024 || (channels != 1 && channels != 3)) {
    fail<ValueError>(
        "make_synthetic: n >= 1, first >= 0, size 8 to 1024, channels 1 or 3; got n {}, "
        "first {}, size {}, channels {}",
        n, first, size, channels);
  }
  Rng rng(seed, Purpose::data);
  rng.seek(0, static_cast<std::uint64_t>(first));
  const Tensor uniform = rand(rng, {n, draws});
  Dataset dataset;
  dataset.name = "synthetic";
  dataset.class_names = class_names(dataset.name);
  dataset.images = Tensor::empty({n, size, size, channels}, DType::u8);
  dataset.labels = Tensor::empty({n}, DType::i64);
  const float* u = uniform.data<float>();
  std::uint8_t* images = dataset.images.mutable_data<std::uint8_t>();
  std::int64_t* labels = dataset.labels.mutable_data<std::int64_t>();
  parallel_for(n, 16, [&, pixels = size * size * channels](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      labels[i] = (first + i) % kinds;
      draw(images + i * pixels, size, channels, labels[i], u + i * draws);
    }
  });
  return dataset;
}

}  // namespace ito::data
