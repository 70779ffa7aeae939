#include "tensor/parallel.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "tensor/error.h"

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

class Pool {
 public:
  explicit Pool(int threads) {
    for (int i = 1; i < threads; ++i) workers_.emplace_back([this] { serve(); });
  }
  ~Pool() {
    {
      const std::lock_guard lock(mutex_);
      stop_ = true;
    }
    wake_.notify_all();
    for (auto& worker : workers_) worker.join();
  }
  int threads() const { return static_cast<int>(workers_.size()) + 1; }

  void run(Loop& loop) {
    {
      const std::lock_guard lock(mutex_);
      loop_ = &loop;
      ++generation_;
      busy_ = static_cast<int>(workers_.size());
    }
    wake_.notify_all();
    loop.work();
    std::unique_lock lock(mutex_);
    done_.wait(lock, [&] { return busy_ == 0; });
    loop_ = nullptr;
  }

 private:
  void serve() {
    std::uint64_t seen = 0;
    std::unique_lock lock(mutex_);
    for (;;) {
      wake_.wait(lock, [&] { return stop_ || generation_ != seen; });
      if (stop_) return;
      seen = generation_;
      Loop* loop = loop_;
      lock.unlock();
      loop->work();
      lock.lock();
      if (--busy_ == 0) done_.notify_one();
    }
  }

  std::vector<std::thread> workers_;
  std::mutex mutex_;
  std::condition_variable wake_, done_;
  Loop* loop_ = nullptr;
  std::uint64_t generation_ = 0;
  int busy_ = 0;
  bool stop_ = false;
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

void detail::parallel_chunks(std::int64_t n, std::int64_t grain, ChunkFn fn, const void* context) {
  if (n <= 0) return;
  grain = std::max<std::int64_t>(grain, 1);
  const std::int64_t chunks = (n + grain - 1) / grain;
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
