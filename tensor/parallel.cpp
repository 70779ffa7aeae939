#include "tensor/parallel.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "tensor/error.h"
#include "tensor/math.h"

namespace ito {
namespace {

thread_local bool inside_parallel = false;

// A loop in progress: threads take chunk numbers from `next` until there are none.
struct Loop {
  std::int64_t n, grain, chunks;
  detail::ChunkFn fn;
  const void* context;
  std::atomic<std::int64_t> next{0};
  std::mutex error_mutex;
  std::exception_ptr error;

  void work() {
    inside_parallel = true;
    for (std::int64_t c; (c = next.fetch_add(1, std::memory_order_relaxed)) < chunks;) {
      try {
        fn(context, c * grain, std::min(n, (c + 1) * grain));
      } catch (...) {
        const std::lock_guard lock(error_mutex);
        if (!error) error = std::current_exception();
        next.store(chunks, std::memory_order_relaxed);
      }
    }
    inside_parallel = false;
  }
};

using Clock = std::chrono::steady_clock;

// Nanoseconds behind pool_times().
std::atomic<std::int64_t> working_ns{0}, waiting_ns{0};

void add_time_since(Clock::time_point begin, std::atomic<std::int64_t>& total) {
  const auto time = std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now() - begin);
  total.fetch_add(time.count(), std::memory_order_relaxed);
}

// One turn of a loop that waits for another processor.
void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#else
  std::this_thread::yield();
#endif
}

// Threads wait in two stages: they look again and again for a while, then sleep. To wake a sleeping
// thread costs the waker a system call and takes 5 to 50 us until the thread runs, as long as many
// a loop; between the loops of a training step there are mostly less than `patience`.
//
// A loop is open while loop_ points to it. Who enters counts itself in inside_ first and then reads
// loop_; the caller closes the loop and then waits until nobody is inside. Both are sequentially
// consistent, so either the one who enters sees that the loop is closed, or the caller sees it
// inside. A thread that wakes too late finds the loop closed, and nobody has waited for it.
class Pool {
 public:
  explicit Pool(int threads)
      : may_spin_(threads <= static_cast<int>(std::thread::hardware_concurrency())) {
    try {
      for (int i = 1; i < threads; ++i) workers_.emplace_back([this] { serve(); });
    } catch (...) {  // the system has no more threads
      stop();
      throw;
    }
  }
  ~Pool() { stop(); }
  int threads() const { return static_cast<int>(workers_.size()) + 1; }

  void run(Loop& loop) {
    if (workers_.empty()) return loop.work();
    loop_ = &loop;
    ++signal_;
    const std::int64_t helpers = std::min<std::int64_t>(loop.chunks - 1, sleeping_.load());
    for (std::int64_t i = 0; i < helpers; ++i) signal_.notify_one();
    loop.work();
    loop_ = nullptr;
    const auto begin = Clock::now();
    if (!look_for([&] { return inside_.load() == 0; })) {
      for (std::uint32_t inside; (inside = inside_.load()) != 0;) inside_.wait(inside);
    }
    add_time_since(begin, waiting_ns);
  }

 private:
  static constexpr std::chrono::microseconds patience{100};

  void stop() {
    stop_ = true;
    ++signal_;
    signal_.notify_all();
    for (auto& worker : workers_) worker.join();
  }

  // True as soon as done() is; false when patience is over.
  template <class F>
  bool look_for(F done) const {
    const auto until = Clock::now() + patience;
    do {
      for (int i = 0; i < 32; ++i) {
        if (done()) return true;
        if (may_spin_) pause();
      }
    } while (may_spin_ && Clock::now() < until);
    return false;
  }

  // The value of signal_ once it is another than `seen`.
  std::uint32_t next_signal(std::uint32_t seen) {
    if (!look_for([&] { return signal_.load() != seen; })) {
      ++sleeping_;
      signal_.wait(seen);
      --sleeping_;
    }
    return signal_.load();
  }

  void serve() {
    for (std::uint32_t seen = 0;; seen = next_signal(seen)) {
      if (stop_) return;
      ++inside_;
      if (Loop* loop = loop_) {
        const auto begin = Clock::now();
        loop->work();
        add_time_since(begin, working_ns);
      }
      if (--inside_ == 0) inside_.notify_one();
    }
  }

  std::vector<std::thread> workers_;
  const bool may_spin_;  // on a processor that nobody else needs
  std::atomic<Loop*> loop_{nullptr};
  std::atomic<std::uint32_t> signal_{0};    // rises with each loop
  std::atomic<std::uint32_t> sleeping_{0};  // threads that need to be woken
  std::atomic<std::uint32_t> inside_{0};    // threads that may be at work in a loop
  std::atomic<bool> stop_{false};
};

// Guards the pool: loops of several user threads take turns.
std::mutex pool_mutex;

std::unique_ptr<Pool>& pool() {
  static auto instance =
      std::make_unique<Pool>(std::max(1, static_cast<int>(std::thread::hardware_concurrency())));
  return instance;
}

}  // namespace

int num_threads() {
  const std::lock_guard lock(pool_mutex);
  return pool()->threads();
}

void set_num_threads(int threads) {
  if (threads < 1 || threads > 1024) {
    fail<ValueError>("set_num_threads: threads must be in [1, 1024]; got {}", threads);
  }
  const std::lock_guard lock(pool_mutex);
  if (pool()->threads() != threads) pool() = std::make_unique<Pool>(threads);
}

PoolTimes pool_times() {
  return {1e-9 * static_cast<double>(working_ns.load()),
          1e-9 * static_cast<double>(waiting_ns.load())};
}

double share_of_threads(double seconds, const PoolTimes& before) {
  const PoolTimes now = pool_times();
  const double worked = seconds - (now.waiting - before.waiting) + (now.working - before.working);
  return worked / (seconds * num_threads());
}

void detail::parallel_chunks(std::int64_t n, std::int64_t grain, ChunkFn fn, const void* context) {
  if (n <= 0) return;
  grain = std::max<std::int64_t>(grain, 1);
  const std::int64_t chunks = ceil_div(n, grain);
  if (chunks == 1 || inside_parallel) {
    for (std::int64_t c = 0; c < chunks; ++c) {
      fn(context, c * grain, std::min(n, (c + 1) * grain));
    }
    return;
  }
  Loop loop{n, grain, chunks, fn, context, {}, {}, {}};
  {
    const std::lock_guard lock(pool_mutex);
    pool()->run(loop);
  }
  if (loop.error) std::rethrow_exception(loop.error);
}

}  // namespace ito
