#include "cuda/emulate/fiber.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <deque>

#include "cuda/emulate/sanitizer.h"

// Six registers and the stack pointer are all that a call preserves. swapcontext would also save
// the signal mask, which is a system call: 250 ns instead of 20. Other processors have only that.
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
#include <ucontext.h>
#endif

namespace ito::emulate {
namespace {

std::size_t stack_size() {
  // Sanitizers make frames several times larger. Untouched pages cost nothing.
  return thread_sanitizer() || address_sanitizer() ? 256 * 1024 : 64 * 1024;
}

// A page below the stack may not be touched: an overflow stops there.
Fiber make_fiber() {
  const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
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

// Stacks are staggered, or the same frames of all threads would compete for the same cache sets.
std::size_t usable_size(const Fiber& f) {
  return f.size - reinterpret_cast<std::uintptr_t>(&f) / sizeof(Fiber) % 29 * 128;
}

#if defined(__x86_64__)

void switch_stack(Fiber& from, Fiber& to) { ito_emulate_switch(&from.context, to.context); }

void prepare_stack(Fiber& f, void (*entry)()) {
  auto* top = reinterpret_cast<void**>(f.bottom + usable_size(f));
  *--top = nullptr;  // where entry() would return to: the end of every backtrace
  *--top = reinterpret_cast<void*>(entry);
  for (int r = 0; r < 6; ++r) *--top = nullptr;
  f.context = top;
}

#else

ucontext_t& context_of(Fiber& f) {
  if (!f.context) f.context = new ucontext_t;
  return *static_cast<ucontext_t*>(f.context);
}

void switch_stack(Fiber& from, Fiber& to) { swapcontext(&context_of(from), &context_of(to)); }

void prepare_stack(Fiber& f, void (*entry)()) {
  ucontext_t& context = context_of(f);
  getcontext(&context);
  context.uc_stack.ss_sp = f.bottom;
  context.uc_stack.ss_size = usable_size(f);
  context.uc_link = nullptr;
  makecontext(&context, entry, 0);
}

#endif

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
  prepare_stack(f, entry);
  f.fake_stack = nullptr;
}

void switch_fiber(Fiber& from, Fiber& to, bool last) {
  came_from = &from;
  // 1: the switch itself orders nothing; barriers and the ends of kernels do.
  if (thread_sanitizer()) __tsan_switch_to_fiber(to.thread_sanitizer_fiber, 1);
  if (__sanitizer_start_switch_fiber)
    __sanitizer_start_switch_fiber(last ? nullptr : &from.fake_stack, to.bottom, to.size);
  switch_stack(from, to);
  arrived(from);
}

void arrived_on_fresh_stack() {
  Fiber fresh;
  arrived(fresh);
}

}  // namespace ito::emulate
