#include "tensor/parallel.h"

#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <mutex>
#include <set>
#include <stdexcept>
#include <thread>
#include <vector>

#include "tensor/error.h"
#include "tests/scopes.h"

using namespace ito;
using test::ThreadScope;

namespace {

using Chunks = std::set<std::pair<std::int64_t, std::int64_t>>;

Chunks chunks_of(std::int64_t n, std::int64_t grain) {
  std::mutex mutex;
  Chunks seen;
  parallel_for(n, grain, [&](std::int64_t begin, std::int64_t end) {
    const std::lock_guard lock(mutex);
    CHECK(seen.insert({begin, end}).second);
  });
  return seen;
}

}  // namespace

TEST_CASE("parallel_for: each element once, in chunks that do not depend on the threads") {
  const ThreadScope scope;
  for (const int threads : {1, 2, 3, 8}) {
    set_num_threads(threads);
    CHECK(num_threads() == threads);
    CHECK(chunks_of(10, 4) == Chunks{{0, 4}, {4, 8}, {8, 10}});
    CHECK(chunks_of(3, 4) == Chunks{{0, 3}});
    CHECK(chunks_of(4, 4) == Chunks{{0, 4}});
    CHECK(chunks_of(0, 4).empty());
    CHECK(chunks_of(-1, 4).empty());
    CHECK(chunks_of(2, 0) == Chunks{{0, 1}, {1, 2}});
    std::vector<int> touched(100000, 0);
    parallel_for(100000, 37, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) ++touched[static_cast<std::size_t>(i)];
    });
    CHECK(touched == std::vector<int>(100000, 1));
  }
}

TEST_CASE("parallel_for: the first exception comes out, and the pool lives on") {
  const ThreadScope scope;
  for (const int threads : {1, 4}) {
    set_num_threads(threads);
    CHECK_THROWS_WITH_AS(parallel_for(1000, 1,
                                      [](std::int64_t begin, std::int64_t) {
                                        if (begin == 500) throw ValueError("chunk 500");
                                      }),
                         "chunk 500", ValueError);
    std::atomic<int> count{0};
    parallel_for(100, 1, [&](std::int64_t, std::int64_t) { ++count; });
    CHECK(count == 100);
  }
}

TEST_CASE("parallel_for: after an exception no further chunks are begun") {
  const ThreadScope scope;
  set_num_threads(2);
  std::atomic<int> count{0};
  CHECK_THROWS(parallel_for(1000000, 1, [&](std::int64_t, std::int64_t) {
    ++count;
    throw std::runtime_error("at once");
  }));
  CHECK(count <= 2);
}

TEST_CASE("parallel_for: a nested call runs on its caller's thread, in order") {
  const ThreadScope scope;
  set_num_threads(4);
  std::atomic<int> total{0};
  parallel_for(8, 1, [&](std::int64_t, std::int64_t) {
    const auto self = std::this_thread::get_id();
    std::int64_t expected = 0;
    parallel_for(100, 10, [&](std::int64_t begin, std::int64_t end) {
      if (std::this_thread::get_id() != self || begin != expected) total = -1000000;
      expected = end;
      ++total;
    });
  });
  CHECK(total == 80);
}

TEST_CASE("parallel_for: several threads of the program may call it at the same time") {
  const ThreadScope scope;
  set_num_threads(3);
  std::atomic<std::int64_t> total{0};
  std::vector<std::thread> callers;
  for (int t = 0; t < 4; ++t) {
    callers.emplace_back([&] {
      for (int i = 0; i < 50; ++i) {
        parallel_for(64, 4, [&](std::int64_t begin, std::int64_t end) { total += end - begin; });
      }
    });
  }
  for (auto& caller : callers) caller.join();
  CHECK(total == 4 * 50 * 64);
}

TEST_CASE("parallel_for: threads that fell asleep between loops wake up for the next one") {
  const ThreadScope scope;
  for (const int threads : {2, 5}) {
    set_num_threads(threads);
    for (int round = 0; round < 20; ++round) {
      std::this_thread::sleep_for(std::chrono::milliseconds(round % 4));
      // Each thread keeps its chunk until the others have one too, so all must come.
      std::atomic<int> inside{0};
      parallel_for(threads, 1, [&](std::int64_t, std::int64_t) {
        ++inside;
        while (inside < threads) std::this_thread::yield();
      });
      CHECK(inside == threads);
    }
  }
}

TEST_CASE("parallel_for: many short loops one after another") {
  const ThreadScope scope;
  for (const int threads : {2, 6}) {
    set_num_threads(threads);
    std::vector<int> counts(64, 0);
    for (int i = 0; i < 5000; ++i) {
      parallel_for(64, 16, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t k = begin; k < end; ++k) ++counts[static_cast<std::size_t>(k)];
      });
    }
    CHECK(counts == std::vector<int>(64, 5000));
  }
}

TEST_CASE("share_of_threads: 1 when all work, half when one of two does") {
  using namespace std::chrono_literals;
  const ThreadScope scope;
  set_num_threads(2);
  const auto share = [](auto work) {
    const PoolTimes before = pool_times();
    const auto begin = std::chrono::steady_clock::now();
    work();
    const std::chrono::duration<double> time = std::chrono::steady_clock::now() - begin;
    return share_of_threads(time.count(), before);
  };
  const auto sleep = [](std::int64_t, std::int64_t) { std::this_thread::sleep_for(100ms); };
  CHECK(share([&] { parallel_for(2, 1, sleep); }) == doctest::Approx(1.0).epsilon(0.25));
  CHECK(share([&] { parallel_for(1, 1, sleep); }) == doctest::Approx(0.5).epsilon(0.1));
  CHECK(share([&] { sleep(0, 1); }) == doctest::Approx(0.5).epsilon(0.1));
}

TEST_CASE("set_num_threads: refuses what makes no sense") {
  CHECK_THROWS_WITH_AS(set_num_threads(0), "set_num_threads: threads must be in [1, 1024]; got 0",
                       ValueError);
  CHECK_THROWS_AS(set_num_threads(1025), ValueError);
}
