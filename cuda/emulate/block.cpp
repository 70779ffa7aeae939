#include "cuda/emulate/block.h"

#include <algorithm>
#include <bit>
#include <cstdio>
#include <numeric>
#include <random>
#include <vector>

#include "cuda/emulate/fiber.h"
#include "cuda/emulate/ptx.h"
#include "cuda/emulate/sanitizer.h"
#include "cuda/emulate/settings.h"
#include "cuda/emulate/shared.h"
#include "tensor/math.h"

// threadIdx and friends, as kernels see them (device.h).
uint3 ito_emulate_thread_index_storage asm("ito_emulate_thread_index");
uint3 ito_emulate_block_index_storage asm("ito_emulate_block_index");
dim3 ito_emulate_block_size_storage asm("ito_emulate_block_size");
dim3 ito_emulate_grid_size_storage asm("ito_emulate_grid_size");

namespace ito::emulate {
namespace {

enum class State { not_started, ready, at_barrier, in_warp, finished };

struct Thread {
  Fiber* fiber = nullptr;  // null until it starts
  State state = State::not_started;
  uint3 index{};
  Rendezvous* call = nullptr;  // in_warp
  Where where;                 // at_barrier, in_warp
};

// An address for ThreadSanitizer's release and acquire. Consecutive calls use different ones:
// with one, a thread that leaves late would be ordered after what others did since.
struct SyncPoint {
  unsigned mask = 0;
  unsigned count = 0;
  char address[2];
};

struct Warp {
  std::uint32_t ready = 0;    // lanes that can go on, started or not
  std::uint32_t alive = 0;    // lanes that have not finished
  std::uint32_t waiting = 0;  // lanes in a rendezvous
  SyncPoint points[4];        // one per mask in use
};

struct Block {
  unsigned threads = 0, warps = 0, finished = 0, waiting = 0;
  unsigned votes = 0;       // predicates that held, of the threads at the barrier
  unsigned result[2] = {};  // of the last two barriers
  unsigned barriers = 0;    // passed so far
  unsigned first_at_barrier = 0;
  bool same_place = true;  // all threads at the barrier came to the same line
  unsigned first_fiber = 0, rotation = 0;
  Thread thread[max_threads];
  Warp warp[max_warps];
  unsigned current = 0;
  const std::function<void()>* body = nullptr;
  std::vector<Fiber*> spare;  // stacks that nobody stands on
  char barrier_point[2][2];   // by parity of the block and of the barrier
  unsigned serial = 0;
};
Block block;
char kernel_begin, kernel_end, fence_point;

Order order = Order::forward;
std::uint32_t random_state = 1;

std::uint32_t random_word() {
  random_state ^= random_state << 13;
  random_state ^= random_state >> 17;
  random_state ^= random_state << 5;
  return random_state;
}

// The thread that goes on next; max_threads: none can.
unsigned pick() {
  if (order == Order::reversed) {
    for (unsigned w = block.warps; w-- > 0;)
      if (const std::uint32_t ready = block.warp[w].ready)
        return w * warp_lanes + 31 - static_cast<unsigned>(std::countl_zero(ready));
    return max_threads;
  }
  const std::uint32_t random = order == Order::shuffled ? random_word() : 0;
  const unsigned first = random % block.warps, turn = random >> 27;
  for (unsigned i = 0; i < block.warps; ++i) {
    const unsigned w = first + i < block.warps ? first + i : first + i - block.warps;
    if (const std::uint32_t ready = block.warp[w].ready) {
      const unsigned lane = static_cast<unsigned>(std::countr_zero(std::rotr(ready, turn)));
      return w * warp_lanes + (lane + turn) % warp_lanes;
    }
  }
  return max_threads;
}

const char* describe(const Thread& t) {
  switch (t.state) {
    case State::at_barrier:
      return "at the barrier of the block";
    case State::in_warp:
      return "waiting for its warp";
    case State::finished:
      return "has returned";
    default:
      return "ready";
  }
}

// Nobody can go on: some threads wait for others that will not come.
[[noreturn]] void report_divergence() {
  std::fprintf(stderr,
               "emulated device: divergent barrier in block (%u, %u, %u): %u threads wait "
               "for the block, %u have returned\n",
               blockIdx.x, blockIdx.y, blockIdx.z, block.waiting, block.finished);
  struct Group {
    unsigned count, first;
  };
  std::vector<Group> groups;
  auto same = [](const Thread& a, const Thread& b) {
    return a.state == b.state &&
           (a.state == State::finished ||
            (a.where.line() == b.where.line() && a.where.file_name() == b.where.file_name()));
  };
  for (unsigned i = 0; i < block.threads; ++i) {
    auto g = std::find_if(groups.begin(), groups.end(), [&](const Group& group) {
      return same(block.thread[group.first], block.thread[i]);
    });
    if (g == groups.end())
      groups.push_back({1, i});
    else
      ++g->count;
  }
  for (const Group& g : groups) {
    const Thread& t = block.thread[g.first];
    std::fprintf(stderr, "  %u threads (first %u): %s", g.count, g.first, describe(t));
    if (t.state == State::in_warp) std::fprintf(stderr, " (mask %08x)", t.call->mask);
    if (t.state != State::finished)
      std::fprintf(stderr, ", %s:%u", t.where.file_name(), static_cast<unsigned>(t.where.line()));
    std::fputc('\n', stderr);
  }
  broken_rule("divergent barrier");
}

void thread_main();

// Fibers are taken as they are needed, so that threads which never wait share one. Under
// ThreadSanitizer each thread has its own, and threads of the same index in neighbouring blocks
// have different ones: what runs on one fiber is in order for the sanitizer.
Fiber& take_fiber(unsigned index) {
  if (thread_sanitizer()) {
    Fiber& f = fiber(block.first_fiber + (index + block.rotation) % block.threads);
    prepare(f, thread_main);
    return f;
  }
  static unsigned made = 0;
  if (block.spare.empty()) block.spare.push_back(&fiber(made++));
  Fiber& f = *block.spare.back();
  block.spare.pop_back();
  prepare(f, thread_main);
  return f;
}

void switch_to(unsigned index) {
  Thread& t = block.thread[index];
  block.current = index;
  ito_emulate_thread_index_storage = t.index;
  block.warp[index / warp_lanes].ready &= ~(1u << index % warp_lanes);
}

// Leaves the current thread, which waits or has finished, for `next`.
void yield(Fiber& from, bool last, unsigned next) {
  if (next == max_threads) {
    if (block.finished < block.threads) report_divergence();
    return switch_fiber(from, host_fiber(), last);
  }
  const bool self = !last && next == block.current;
  switch_to(next);
  if (self) return;
  Thread& t = block.thread[next];
  if (!t.fiber) t.fiber = &take_fiber(next);
  switch_fiber(from, *t.fiber, last);
}

void run_thread() {
  acquire(&kernel_begin);
  (*block.body)();
  release(&kernel_end);
  drop_copies(block.current);
  Warp& w = block.warp[block.current / warp_lanes];
  w.alive &= ~(1u << block.current % warp_lanes);
  block.thread[block.current].state = State::finished;
  ++block.finished;
}

// Other lanes may have been waiting for this one, which has returned instead.
void resolve_warp(unsigned warp);

void thread_main() {
  arrived_on_fresh_stack();
  Fiber& self = *block.thread[block.current].fiber;
  unsigned next = max_threads;
  for (;;) {
    run_thread();
    if (block.warp[block.current / warp_lanes].waiting != 0)
      resolve_warp(block.current / warp_lanes);
    next = pick();
    if (thread_sanitizer()) break;
    if (next == max_threads || block.thread[next].fiber) break;
    switch_to(next);  // on this same stack
    block.thread[next].fiber = &self;
  }
  if (!thread_sanitizer()) block.spare.push_back(&self);
  // `next` stands on a stack of its own, or none can go on: this one is free, not to be taken
  // again.
  yield(self, true, next);
}

SyncPoint& sync_point(Warp& w, unsigned mask) {
  for (SyncPoint& p : w.points) {
    if (p.mask == 0) p.mask = mask;
    if (p.mask == mask) return p;
  }
  return w.points[0];
}

bool whole_warp_only(WarpOp kind) { return kind == WarpOp::ldmatrix || kind == WarpOp::mma; }

// Completes the rendezvous that lane `first` waits in, if all its lanes have arrived.
void resolve(unsigned warp, int first) {
  Warp& w = block.warp[warp];
  Thread* const threads = block.thread + warp * warp_lanes;
  const Rendezvous& call = *threads[first].call;
  const std::uint32_t lanes = call.mask & w.alive;
  if ((w.waiting & lanes) != lanes) return;
  Rendezvous* calls[warp_lanes];
  for (std::uint32_t rest = lanes; rest != 0; rest &= rest - 1) {
    const int lane = std::countr_zero(rest);
    calls[lane] = threads[lane].call;
    if (calls[lane]->mask != call.mask || calls[lane]->kind != call.kind) return;
  }
  complete(calls, lanes);
  if (call.kind == WarpOp::sync) ++sync_point(w, call.mask).count;
  for (std::uint32_t rest = lanes; rest != 0; rest &= rest - 1)
    threads[std::countr_zero(rest)].state = State::ready;
  w.waiting &= ~lanes;
  w.ready |= lanes;
}

void resolve_warp(unsigned warp) {
  for (int lane = 0; lane < static_cast<int>(warp_lanes); ++lane)
    if (block.warp[warp].waiting >> lane & 1) resolve(warp, lane);
}

}  // namespace

void rendezvous(Rendezvous& call, const Where& where) {
  Thread& t = block.thread[block.current];
  const unsigned warp = block.current / warp_lanes, lane = block.current % warp_lanes;
  Warp& w = block.warp[warp];
  if ((call.mask >> lane & 1) == 0) {
    broken_rule("%s:%u: lane %u is not in the mask %08x that it waits with", where.file_name(),
                static_cast<unsigned>(where.line()), lane, call.mask);
  }
  if (whole_warp_only(call.kind) && w.alive != ~0u) {
    broken_rule("%s:%u: all 32 lanes of a warp must come to ldmatrix and mma; here are %08x",
                where.file_name(), static_cast<unsigned>(where.line()), w.alive);
  }
  char* point = nullptr;
  if (call.kind == WarpOp::sync) {
    SyncPoint& p = sync_point(w, call.mask);
    point = &p.address[p.count % 2];
    release(point);
  }
  t.call = &call;
  t.where = where;
  t.state = State::in_warp;
  w.waiting |= 1u << lane;
  resolve(warp, static_cast<int>(lane));
  yield(*t.fiber, false, pick());
  if (point) acquire(point);
}

unsigned block_barrier(bool predicate, const Where& where) {
  Thread& t = block.thread[block.current];
  const unsigned parity = block.barriers % 2;
  char* const point = &block.barrier_point[block.serial % 2][parity];
  release(point);
  t.where = where;
  t.state = State::at_barrier;
  const Thread& first = block.thread[block.waiting == 0 ? block.current : block.first_at_barrier];
  if (block.waiting == 0) block.first_at_barrier = block.current;
  block.same_place = (block.waiting == 0 || block.same_place) &&
                     first.where.line() == where.line() &&
                     first.where.file_name() == where.file_name();
  block.votes += predicate;
  if (++block.waiting == block.threads && block.same_place) {
    block.result[parity] = block.votes;
    block.votes = block.waiting = 0;
    ++block.barriers;
    for (unsigned i = 0; i < block.threads; ++i) block.thread[i].state = State::ready;
    for (unsigned w = 0; w < block.warps; ++w) block.warp[w].ready = block.warp[w].alive;
  }
  yield(*t.fiber, false, pick());
  acquire(point);
  return block.result[parity];
}

int lane_id() { return static_cast<int>(block.current % warp_lanes); }

void fence() {
  acquire(&fence_point);
  release(&fence_point);
}

unsigned current_thread() { return block.current; }

namespace {

void start_block(std::uint64_t linear, const Grid& grid) {
  const dim3 g = grid.grid, b = grid.block;
  ito_emulate_block_index_storage = {static_cast<unsigned>(linear % g.x),
                                     static_cast<unsigned>(linear / g.x % g.y),
                                     static_cast<unsigned>(linear / g.x / g.y)};
  block.finished = block.waiting = block.votes = 0;
  ++block.serial;
  for (unsigned w = 0; w < block.warps; ++w) {
    const unsigned lanes = std::min(block.threads - w * warp_lanes, warp_lanes);
    block.warp[w].alive = block.warp[w].ready = lanes == 32 ? ~0u : (1u << lanes) - 1;
    block.warp[w].waiting = 0;
  }
  uint3 index{0, 0, 0};
  for (unsigned i = 0; i < block.threads; ++i) {
    Thread& t = block.thread[i];
    t.fiber = nullptr;
    t.state = State::not_started;
    t.index = index;
    if (++index.x == b.x) {
      index.x = 0;
      if (++index.y == b.y) {
        index.y = 0;
        ++index.z;
      }
    }
  }
  // Two sets of fibers in turn, so that neighbouring blocks are not in order for ThreadSanitizer.
  block.first_fiber = block.serial % 2 * block.threads;
  block.rotation = block.serial / 2 % block.threads;
  start_shared_memory(grid.dynamic_shared, grid.shared_limit);
}

void run_block(std::uint64_t linear, const Grid& grid) {
  start_block(linear, grid);
  const unsigned first = pick();
  switch_to(first);
  Thread& t = block.thread[first];
  t.fiber = &take_fiber(first);
  switch_fiber(host_fiber(), *t.fiber, false);
}

}  // namespace

void run_grid(const Grid& grid) {
  const dim3 g = grid.grid, b = grid.block;
  block.threads = b.x * b.y * b.z;
  block.warps = ceil_div(block.threads, warp_lanes);
  block.body = grid.thread;
  ito_emulate_block_size_storage = b;
  ito_emulate_grid_size_storage = g;
  block.spare.reserve(max_threads + 1);
  if (thread_sanitizer()) fiber(2 * block.threads - 1);  // no allocation within a block
  enter_from_host();
  release(&kernel_begin);
  const std::uint64_t blocks = std::uint64_t{g.x} * g.y * g.z;
  if (order == Order::shuffled) {
    std::vector<std::uint64_t> indices(blocks);
    std::iota(indices.begin(), indices.end(), 0);
    std::shuffle(indices.begin(), indices.end(), std::minstd_rand(random_word()));
    for (std::uint64_t i : indices) run_block(i, grid);
  } else {
    for (std::uint64_t i = 0; i < blocks; ++i)
      run_block(order == Order::reversed ? blocks - 1 - i : i, grid);
  }
  acquire(&kernel_end);
}

void set_order(Order new_order, std::uint32_t seed) {
  order = new_order;
  random_state = seed * 2654435761u | 1;
}

}  // namespace ito::emulate
