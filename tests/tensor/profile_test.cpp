#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <thread>

#include "tensor/error.h"
#include "tensor/launch.h"
#include "tensor/profile_report.h"
#include "tests/sanitized.h"
#include "tests/tensor/profile_kernels.h"

using namespace ito;

namespace {

void launch_busy(std::int64_t microseconds) {
  launch<test::Busy>(Device::cpu(), {microseconds, 10.0, 3.0});
}

struct Layer {
  int unused = 0;
  void operator()() const {
    const profile::Scope scope(this);
    launch_busy(1);
  }
};

const profile::LayerTotal& find(const std::vector<profile::LayerTotal>& rows,
                                const std::string& layer) {
  const auto at =
      std::find_if(rows.begin(), rows.end(), [&](const auto& row) { return row.layer == layer; });
  REQUIRE_MESSAGE(at != rows.end(), layer);
  return *at;
}

}  // namespace

TEST_CASE("profile: only what happens within a Profiling is recorded") {
  profile::Profile profile;
  launch_busy(0);
  CHECK_FALSE(profile::enabled());
  {
    const profile::Profiling on(profile);
    CHECK(profile::enabled());
    launch_busy(0);
    std::thread([] { launch_busy(0); }).join();  // the work of another thread is its own
  }
  launch_busy(0);
  CHECK_FALSE(profile::enabled());
  REQUIRE(profile.spans().size() == 1);
  CHECK(std::string(profile.spans()[0].name) == "busy");
  profile.clear();
  CHECK(profile.spans().empty());
  CHECK(profile.seconds() == 0.0);
}

TEST_CASE("profile: the innermost Profiling gets the spans, and the outer one goes on after it") {
  profile::Profile outer, inner;
  {
    const profile::Profiling on(outer);
    const profile::Scope scope("outside");
    {
      const profile::Profiling also(inner);
      CHECK(profile::current_layer() == nullptr);
      launch_busy(0);
    }
    launch_busy(0);
  }
  CHECK(profile::all_kernels(inner).launches == 1);
  CHECK(profile::all_kernels(outer).launches == 1);
  CHECK(find(profile::by_layer(outer), "outside").forward.launches == 1);
}

TEST_CASE("profile: times, work and bytes are summed by kernel and by layer, and nothing is lost") {
  profile::Profile profile;
  {
    const profile::Profiling on(profile);
    launch_busy(2000);
    const profile::Scope loss("loss");
    for (int i = 0; i < 3; ++i) launch_busy(1000);
    launch<test::NoCost>(Device::cpu(), {});
  }
  const auto kernels = profile::by_kernel(profile);
  REQUIRE(kernels.size() == 2);
  CHECK(kernels[0].kernel == "busy");  // the longest first
  CHECK(kernels[0].total.launches == 4);
  CHECK(kernels[0].total.flops == 40.0);
  CHECK(kernels[0].total.bytes == 12.0);
  CHECK(kernels[0].total.seconds >= 5e-3);
  CHECK(kernels[1].total.flops == 0.0);

  const auto layers = profile::by_layer(profile);
  REQUIRE(layers.size() == 2);
  CHECK(layers[0].layer.empty());
  CHECK(find(layers, "").forward.seconds >= 2e-3);
  CHECK(find(layers, "loss").forward.launches == 4);
  CHECK(find(layers, "loss").forward.seconds >= 3e-3);
  CHECK(find(layers, "loss").backward.launches == 0);

  profile::Total all;
  for (const auto& row : layers) all.add(row.all());
  CHECK(all.seconds == doctest::Approx(profile::all_kernels(profile).seconds));
  CHECK(all.launches == profile::all_kernels(profile).launches);
  CHECK(all.seconds <= profile.seconds());
}

TEST_CASE("profile: a kernel that starts others counts once") {
  profile::Profile profile;
  {
    const profile::Profiling on(profile);
    launch<test::Composed>(Device::cpu(), {});
    launch_busy(0);
  }
  CHECK(profile::all_kernels(profile).launches == 2);
}

TEST_CASE("profile: scopes nest, take the names of named objects only, and survive exceptions") {
  const Layer named, unnamed;
  profile::Profile profile;
  profile.name(typeid(Layer), &named, "blocks.0");
  profile.name(typeid(int), &unnamed, "another type at this address");
  {
    const profile::Profiling on(profile);
    const profile::Scope network("network");
    named();
    unnamed();
    CHECK_THROWS_AS(
        [&] {
          const profile::Scope scope(&named);
          launch<test::Throws>(Device::cpu(), {});
        }(),
        ValueError);
    launch_busy(0);
  }
  const auto layers = profile::by_layer(profile);
  CHECK(find(layers, "blocks.0").forward.launches == 2);
  CHECK(find(layers, "network").forward.launches == 2);

  // Each span lies within those of smaller depth that are open when it begins.
  std::vector<profile::Span> open;
  for (const profile::Span& span : profile.spans()) {
    REQUIRE(span.depth <= static_cast<int>(open.size()));
    open.resize(static_cast<std::size_t>(span.depth));
    CHECK(span.begin_ns <= span.end_ns);
    if (!open.empty()) {
      CHECK(open.back().begin_ns <= span.begin_ns);
      CHECK(span.end_ns <= open.back().end_ns);
    }
    open.push_back(span);
  }
}

TEST_CASE(
    "profile: the gradient of a layer is its backward pass, a layer run for it a recomputation") {
  const Layer layer;
  profile::Profile profile;
  profile.name(typeid(Layer), &layer, "layer");
  const profile::Profiling on(profile);
  const char* kept = nullptr;
  {
    const profile::Scope scope(&layer);
    kept = profile::current_layer();
    launch_busy(0);
  }
  {
    const profile::Scope gradient(kept, profile::Phase::backward);
    launch_busy(0);
    launch_busy(0);
    layer();
    launch_busy(0);
  }
  const auto layers = profile::by_layer(profile);
  CHECK(find(layers, "layer").forward.launches == 1);
  CHECK(find(layers, "layer").backward.launches == 3);
  CHECK(find(layers, "layer").recompute.launches == 1);
  CHECK(profile::tables(profile).find("again ms") != std::string::npos);
}

TEST_CASE("profile: the tables say what was spent, per step and of the peak") {
  profile::Profile profile;
  {
    const profile::Profiling on(profile);
    launch<test::Busy>(Device::cpu(), {4000, 8e9, 2e6});
    launch<test::Busy>(Device::cpu(), {4000, 8e9, 2e6});
    std::this_thread::sleep_for(std::chrono::milliseconds(4));
  }
  const double seconds = profile::all_kernels(profile).seconds;
  const std::string text = profile::tables(profile, 2, {.flops = 16e9 / seconds, .bytes = 0.0});
  CAPTURE(text);
  CHECK(text.find(" 8.000 ") != std::string::npos);  // GFLOP in a step
  CHECK(text.find(" 2.00 ") != std::string::npos);   // MB
  CHECK(text.find("100.0 %") != std::string::npos);  // of peak
  CHECK(text.find("outside kernels") != std::string::npos);
  CHECK(text.find("again ms") == std::string::npos);
}

TEST_CASE("profile: the trace is JSON in which every span of a thread lies within its parent") {
  const Layer layer;
  profile::Profile profile;
  profile.name(typeid(Layer), &layer, "a \"quoted\\name\"\n");
  {
    const profile::Profiling on(profile);
    const profile::Scope network("network");
    for (int i = 0; i < 3; ++i) layer();
  }
  const auto path = std::filesystem::temp_directory_path() /
                    ("ito_trace_" + std::to_string(reinterpret_cast<std::uintptr_t>(&profile)));
  profile::write_trace(profile, path.string());
  std::ifstream file(path);
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  std::filesystem::remove(path);
  const auto json = nlohmann::json::parse(text);

  std::vector<double> ends;
  int kernels = 0, spans = 0;
  for (const auto& event : json.at("traceEvents")) {
    if (event.at("ph") == "M") continue;
    REQUIRE(event.at("ph") == "X");
    const double begin = event.at("ts"), end = begin + event.at("dur").get<double>();
    while (!ends.empty() && ends.back() <= begin) ends.pop_back();
    if (!ends.empty()) CHECK(end <= ends.back() + 2e-3);  // times are rounded to nanoseconds
    ends.push_back(end);
    ++spans;
    if (!event.contains("args")) continue;
    ++kernels;
    CHECK(event.at("name") == "busy");
    CHECK(event.at("args").at("layer") == "a \"quoted\\name\"\n");
    CHECK(event.at("args").at("GFLOP").get<double>() == doctest::Approx(1e-8));
  }
  CHECK(kernels == 3);
  CHECK(spans == 7);
  CHECK(nlohmann::json::parse(profile::trace(profile::Profile())).at("traceEvents").size() == 2);
  CHECK_THROWS_AS(profile::write_trace(profile, "/no/such/folder/trace.json"), IoError);
}

TEST_CASE("profile: a launch costs next to nothing while none is recorded") {
  constexpr int calls = 20000;
  const auto best_ns = [](auto call) {
    double best = 1e30;
    for (int repeat = 0; repeat < 20; ++repeat) {
      const auto begin = std::chrono::steady_clock::now();
      for (int i = 0; i < calls; ++i) call();
      const std::chrono::duration<double, std::nano> time =
          std::chrono::steady_clock::now() - begin;
      best = std::min(best, time.count() / calls);
    }
    return best;
  };
  const auto launched = [] { launch<test::NoCost>(Device::cpu(), {}); };
  const double bare = best_ns([] { test::NoCost::cpu({}); });
  const double off = best_ns(launched) - bare;
  profile::Profile profile;
  const double on = best_ns([&] {
                      if (profile.spans().size() > 50000) profile.clear();
                      const profile::Profiling recording(profile);
                      launched();
                    }) -
                    bare;
  CAPTURE(bare);
  CAPTURE(off);
  CAPTURE(on);
  CHECK(on > 5.0);  // nanoseconds: this way of measuring sees a launch that is recorded
  if (!test::sanitized) CHECK(off < 0.1 * on);  // 0 of 100; sanitizers put calls into both
}
