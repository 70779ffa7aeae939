// The sanitizers' interfaces, as weak references: one emulator serves every build. Without the
// sanitizer each function does nothing.
#pragma once

#include <cstddef>

#define ITO_WEAK __attribute__((weak))
extern "C" {
void* __tsan_get_current_fiber() ITO_WEAK;
void* __tsan_create_fiber(unsigned) ITO_WEAK;
void __tsan_switch_to_fiber(void*, unsigned) ITO_WEAK;
void __tsan_acquire(void*) ITO_WEAK;
void __tsan_release(void*) ITO_WEAK;
void AnnotateIgnoreReadsBegin(const char*, int) ITO_WEAK;
void AnnotateIgnoreReadsEnd(const char*, int) ITO_WEAK;
void __sanitizer_start_switch_fiber(void**, const void*, std::size_t) ITO_WEAK;
void __sanitizer_finish_switch_fiber(void*, const void**, std::size_t*) ITO_WEAK;
void __asan_poison_memory_region(const volatile void*, std::size_t) ITO_WEAK;
void __asan_unpoison_memory_region(const volatile void*, std::size_t) ITO_WEAK;
}
#undef ITO_WEAK

namespace ito::emulate {

inline bool thread_sanitizer() { return __tsan_create_fiber != nullptr; }
inline bool address_sanitizer() { return __asan_poison_memory_region != nullptr; }
inline void release(void* address) {
  if (__tsan_release) __tsan_release(address);
}
inline void acquire(void* address) {
  if (__tsan_acquire) __tsan_acquire(address);
}
inline void poison(const void* p, std::size_t bytes) {
  if (__asan_poison_memory_region) __asan_poison_memory_region(p, bytes);
}
inline void unpoison(const void* p, std::size_t bytes) {
  if (__asan_unpoison_memory_region) __asan_unpoison_memory_region(p, bytes);
}

}  // namespace ito::emulate
