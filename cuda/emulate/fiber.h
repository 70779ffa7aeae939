// Stacks for the threads of a block and the switch between them.
#pragma once

#include <cstddef>

namespace ito::emulate {

// A stack with its own view of the program in each sanitizer.
struct Fiber {
  void* context = nullptr;  // saved stack pointer, below the registers; or a ucontext_t
  char* bottom = nullptr;
  std::size_t size = 0;
  void* thread_sanitizer_fiber = nullptr;
  void* fake_stack = nullptr;  // AddressSanitizer's
};

// The number of fibers made so far; fiber(i) makes those up to i. They are kept: making one costs
// 0.6 ms under ThreadSanitizer.
Fiber& fiber(unsigned index);
// The stack that the host calls from.
Fiber& host_fiber();
// To be called on it before the first switch: calls may come from several threads of the host.
void enter_from_host();

// Makes the next switch to `f` call entry() on an empty stack.
void prepare(Fiber& f, void (*entry)());
// Goes on in `to`; returns when somebody switches back to `from`. `last`: nobody will.
void switch_fiber(Fiber& from, Fiber& to, bool last);
// Must be called first on a fresh stack.
void arrived_on_fresh_stack();

}  // namespace ito::emulate
