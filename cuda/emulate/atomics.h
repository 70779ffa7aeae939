// Atomic operations of the emulated device: relaxed, as CUDA's are, so that they order nothing
// else.
#pragma once

#include <type_traits>

namespace ito::emulate {

// Replaces *p by f(*p) and returns the old value.
template <class T, class F>
T atomic_update(T* p, F f) {
  T old, updated;
  __atomic_load(p, &old, __ATOMIC_RELAXED);
  do {
    updated = f(old);
  } while (
      !__atomic_compare_exchange(p, &old, &updated, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
  return old;
}

}  // namespace ito::emulate

// The second parameter is not deduced, as with CUDA's overloads.
template <class T>
T atomicAdd(T* p, std::type_identity_t<T> value) {
  return ito::emulate::atomic_update(p, [=](T x) { return static_cast<T>(x + value); });
}
template <class T>
T atomicSub(T* p, std::type_identity_t<T> value) {
  return ito::emulate::atomic_update(p, [=](T x) { return static_cast<T>(x - value); });
}
template <class T>
T atomicMax(T* p, std::type_identity_t<T> value) {
  static_assert(std::is_integral_v<T>);
  return ito::emulate::atomic_update(p, [=](T x) { return x < value ? value : x; });
}
template <class T>
T atomicMin(T* p, std::type_identity_t<T> value) {
  static_assert(std::is_integral_v<T>);
  return ito::emulate::atomic_update(p, [=](T x) { return value < x ? value : x; });
}
template <class T>
T atomicAnd(T* p, std::type_identity_t<T> value) {
  return ito::emulate::atomic_update(p, [=](T x) { return x & value; });
}
template <class T>
T atomicOr(T* p, std::type_identity_t<T> value) {
  return ito::emulate::atomic_update(p, [=](T x) { return x | value; });
}
template <class T>
T atomicExch(T* p, std::type_identity_t<T> value) {
  return ito::emulate::atomic_update(p, [=](T) { return value; });
}
template <class T>
T atomicCAS(T* p, std::type_identity_t<T> expected, std::type_identity_t<T> value) {
  return ito::emulate::atomic_update(p, [=](T x) { return x == expected ? value : x; });
}
inline unsigned atomicInc(unsigned* p, unsigned last) {
  return ito::emulate::atomic_update(p, [=](unsigned x) { return x >= last ? 0 : x + 1; });
}
