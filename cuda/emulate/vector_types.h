// CUDA's short vectors, with the alignment that makes a vector one memory access.
#pragma once

struct uint3 {
  unsigned x, y, z;
};
struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};

#define ITO_EMULATE_VECTORS(T, name)                                \
  struct alignas(2 * sizeof(T)) name##2 {                           \
    T x, y;                                                         \
  };                                                                \
  struct alignas(4 * sizeof(T) > 16 ? 16 : 4 * sizeof(T)) name##4 { \
    T x, y, z, w;                                                   \
  };                                                                \
  constexpr name##2 make_##name##2(T x, T y) { return {x, y}; }     \
  constexpr name##4 make_##name##4(T x, T y, T z, T w) { return {x, y, z, w}; }
ITO_EMULATE_VECTORS(float, float)
ITO_EMULATE_VECTORS(double, double)
ITO_EMULATE_VECTORS(int, int)
ITO_EMULATE_VECTORS(unsigned, uint)
ITO_EMULATE_VECTORS(unsigned char, uchar)
ITO_EMULATE_VECTORS(unsigned short, ushort)
#undef ITO_EMULATE_VECTORS
