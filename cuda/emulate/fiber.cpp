#include "cuda/emulate/fiber.h"

#include <sys/mman.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <deque>

#include "cuda/emulate/sanitizer.h"

// Six registers and the stack pointer are all that a call preserves. swapcontext would also save
// the signal mask, which is a system call: 250 ns instead of 20.
#if defined(__x86_64__)
extern "C" void ito_emulate_switch(void** save, void* load);
asm(R"(
.text
.globl ito_emulate_switch
.hidden ito_emulate_switch
.type ito_emulate_switch, @function
ito_emulate_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size ito_emulate_switch, .-ito_emulate_switch
)");
#else
#error "the emulated device switches stacks in x86-64 assembly: add your processor to fiber.cpp"
#endif

namespace ito::emulate {
namespace {

constexpr std::size_t page = 4096;

std::size_t stack_size() {
  // Sanitizers make frames several times larger. Untouched pages cost nothing.
  return thread_sanitizer() || address_sanitizer() ? 256 * 1024 : 64 * 1024;
}

// A page below the stack may not be touched: an overflow stops there.
Fiber make_fiber() {
  Fiber f;
  f.size = stack_size();
  void* p = mmap(nullptr, page + f.size, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED || mprotect(p, page, PROT_NONE) != 0) {
    std::fputs("emulated device: no memory for the stacks of a block's threads\n", stderr);
    std::abort();
  }
  f.bottom = static_cast<char*>(p) + page;
  if (thread_sanitizer()) f.thread_sanitizer_fiber = __tsan_create_fiber(0);
  return f;
}

Fiber host;
Fiber* came_from = nullptr;

void arrived(Fiber& self) {
  if (!__sanitizer_finish_switch_fiber) return;
  const void* bottom = nullptr;
  std::size_t size = 0;
  __sanitizer_finish_switch_fiber(self.fake_stack, &bottom, &size);
  if (came_from == &host) {
    host.bottom = static_cast<char*>(const_cast<void*>(bottom));
    host.size = size;
  }
}

}  // namespace

Fiber& host_fiber() { return host; }

void enter_from_host() {
  if (__tsan_get_current_fiber) host.thread_sanitizer_fiber = __tsan_get_current_fiber();
}

Fiber& fiber(unsigned index) {
  static auto& fibers = *new std::deque<Fiber>;
  while (fibers.size() <= index) fibers.push_back(make_fiber());
  return fibers[index];
}

void prepare(Fiber& f, void (*entry)()) {
  // Stacks are staggered, or the same frames of all threads would compete for the same cache sets.
  const std::size_t stagger = reinterpret_cast<std::uintptr_t>(&f) / sizeof(Fiber) % 29 * 128;
  auto* top = reinterpret_cast<void**>(f.bottom + f.size - stagger);
  *--top = nullptr;  // where entry() would return to: the end of every backtrace
  *--top = reinterpret_cast<void*>(entry);
  for (int r = 0; r < 6; ++r) *--top = nullptr;
  f.context = top;
  f.fake_stack = nullptr;
}

void switch_fiber(Fiber& from, Fiber& to, bool last) {
  came_from = &from;
  // 1: the switch itself orders nothing; barriers and the ends of kernels do.
  if (thread_sanitizer()) __tsan_switch_to_fiber(to.thread_sanitizer_fiber, 1);
  if (__sanitizer_start_switch_fiber)
    __sanitizer_start_switch_fiber(last ? nullptr : &from.fake_stack, to.bottom, to.size);
  ito_emulate_switch(&from.context, to.context);
  arrived(from);
}

void arrived_on_fresh_stack() {
  Fiber fresh;
  arrived(fresh);
}

}  // namespace ito::emulate
