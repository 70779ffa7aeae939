// The processor's vectors, through the vector extension of g++ and clang: arithmetic on a
// `vector_of<T>` is element by element, and the width follows the instruction set that the file is
// compiled for.
#pragma once

#include <cstdint>
#include <cstring>

namespace ito::simd {

#if defined(__AVX512F__)
inline constexpr int vector_bytes = 64;
inline constexpr int registers = 32;
#elif defined(__AVX__)
inline constexpr int vector_bytes = 32;
inline constexpr int registers = 16;
#else
inline constexpr int vector_bytes = 16;
inline constexpr int registers = 16;
#endif

template <class T>
struct VectorOf;
template <>
struct VectorOf<float> {
  typedef float type __attribute__((vector_size(vector_bytes)));
};
template <>
struct VectorOf<double> {
  typedef double type __attribute__((vector_size(vector_bytes)));
};
template <class T>
using vector_of = typename VectorOf<T>::type;

/// Elements in a vector.
template <class T>
inline constexpr int lanes = vector_bytes / static_cast<int>(sizeof(T));

// Always inlined, because a function that takes or returns vectors has another calling convention
// on each instruction set.
#define ITO_INLINE __attribute__((always_inline)) inline

/// From and to any address.
template <class T>
ITO_INLINE void load(vector_of<T>& v, const T* from) {
  std::memcpy(&v, from, sizeof(v));
}
template <class T>
ITO_INLINE void store(T* to, const vector_of<T>& v) {
  std::memcpy(to, &v, sizeof(v));
}

/// The first `count` elements; the others read as 0 and are not written. Nothing for count <= 0.
template <class T>
ITO_INLINE void load(vector_of<T>& v, const T* from, std::int64_t count) {
  if (count >= lanes<T>) return load(v, from);
  T elements[lanes<T>] = {};
  for (std::int64_t i = 0; i < count; ++i) elements[i] = from[i];
  load(v, elements);
}
template <class T>
ITO_INLINE void store(T* to, const vector_of<T>& v, std::int64_t count) {
  if (count >= lanes<T>) return store(to, v);
  T elements[lanes<T>];
  store(elements, v);
  for (std::int64_t i = 0; i < count; ++i) to[i] = elements[i];
}

}  // namespace ito::simd
