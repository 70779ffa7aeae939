#include <doctest/doctest.h>

#include <cmath>
#include <cstdio>
#include <filesystem>
#include <fstream>

#include "diffusion/training/metrics.h"
#include "examples/app/command_line.h"
#include "examples/app/exit_codes.h"
#include "examples/app/files.h"
#include "examples/app/processor_check.h"
#include "examples/app/progress.h"
#include "examples/app/report.h"
#include "examples/app/svg_plot.h"
#include "examples/app/train_options.h"
#include "nn/fingerprint.h"

using namespace ito;

TEST_CASE("base64: the test vectors of RFC 4648") {
  CHECK(app::base64("") == "");
  CHECK(app::base64("f") == "Zg==");
  CHECK(app::base64("fo") == "Zm8=");
  CHECK(app::base64("foo") == "Zm9v");
  CHECK(app::base64("foob") == "Zm9vYg==");
  CHECK(app::base64("fooba") == "Zm9vYmE=");
  CHECK(app::base64("foobar") == "Zm9vYmFy");
  CHECK(app::base64("\xff\xff\xff") == "////");
}

TEST_CASE("nearest: one or two slips are forgiven, other words are not") {
  const std::vector<std::string> flags{"--batch", "--steps", "--seed", "--sample-every"};
  CHECK(app::nearest("--bacth", flags) == "--batch");
  CHECK(app::nearest("--sede", flags) == "--seed");
  CHECK(app::nearest("--sample-evry", flags) == "--sample-every");
  CHECK(app::nearest("completely-different-words", flags) == "");
  CHECK(app::nearest("", flags) == "");
}

TEST_CASE("processor check: the oldest instruction that is missing, and none on this machine") {
  using namespace app;
  CHECK(first_missing(0, 0) == nullptr);
  CHECK(first_missing(feature_avx2, feature_avx2 | feature_avx) == nullptr);
  CHECK(first_missing(feature_avx512f | feature_fma, 0) == std::string("FMA"));
  CHECK(first_missing(feature_avx512vl, ~0U ^ feature_avx512vl) == std::string("AVX-512VL"));
  CHECK(first_missing(built_for, processor_features()) == nullptr);
}

TEST_CASE("clock_text: minutes, hours, and nothing below zero") {
  CHECK(app::clock_text(0) == "0:00");
  CHECK(app::clock_text(187.4) == "3:07");
  CHECK(app::clock_text(7509) == "2:05:09");
  CHECK(app::clock_text(-3) == "0:00");
}

TEST_CASE("human_bytes: three digits and a unit") {
  CHECK(app::human_bytes(0) == "0 B");
  CHECK(app::human_bytes(999) == "999 B");
  CHECK(app::human_bytes(6492676) == "6.49 MB");
  CHECK(app::human_bytes(1e12) == "1 TB");
}

TEST_CASE("fingerprint: FNV-1a, its published value of \"foobar\"") {
  CHECK(nn::fingerprint("", 0) == "cbf29ce484222325");
  CHECK(nn::fingerprint("foobar", 6) == "85944171f73967e8");
}

TEST_CASE("ticks: round numbers inside the range") {
  CHECK(app::ticks(0, 10, 5) == std::vector<double>{0, 2, 4, 6, 8, 10});
  CHECK(app::ticks(-1, 1, 4) == std::vector<double>{-1, -0.5, 0, 0.5, 1});
  CHECK(app::ticks(3, 3, 5) == std::vector<double>{3});
}

TEST_CASE(
    "line_plot: a curve without points, with one, and with NaN draws without NaN in the text") {
  for (const std::vector<double>& y : {std::vector<double>{},
                                       {1.0},
                                       {1.0, std::nan(""), 2.0},
                                       {5.0, 5.0, 5.0},
                                       {0.0, -1.0, 0.0}}) {
    std::vector<double> x;
    for (std::size_t i = 0; i < y.size(); ++i) x.push_back(static_cast<double>(i));
    for (const bool log : {false, true}) {
      const std::string svg = app::line_plot({{"a", "red", x, y}}, {"t <&>", "x", "y", log});
      CHECK(svg.find("nan") == std::string::npos);
      CHECK(svg.find("inf") == std::string::npos);
      CHECK(svg.find("t <&>") == std::string::npos);
      CHECK(svg.starts_with("<svg"));
      CHECK(svg.ends_with("</svg>"));
    }
  }
}

TEST_CASE("MetricsWindow: losses go to the quarter of their timestep") {
  training::MetricsWindow w;
  w.add({1, 2, 3, 5}, {0, 249, 250, 999}, 1000, 0.5);
  CHECK(w.quarter_count == std::array<std::int64_t, 4>{2, 1, 0, 1});
  CHECK(w.quarter_loss == std::array<double, 4>{3, 3, 0, 5});
  const training::MetricsLine line = training::summarise(w, 7, 1e-3, 0.9);
  CHECK(line.loss == doctest::Approx(2.75));
  CHECK(std::isnan(line.quarter_loss[2]));
  CHECK(training::to_json(line).find("\"loss_q3\":null") != std::string::npos);
}

TEST_CASE("MetricsWindow: every bit survives JSON") {
  training::MetricsWindow w;
  w.steps = 3;
  w.loss = 0.1 + 0.2;
  w.grad_norm = 1.0 / 3.0;
  w.quarter_loss = {1e-300, 2.5e-7, std::nextafter(1.0, 2.0), 12345678.9};
  const auto same = training::MetricsWindow::from_json(w.to_json());
  CHECK(same.loss == w.loss);
  CHECK(same.grad_norm == w.grad_norm);
  CHECK(same.quarter_loss == w.quarter_loss);
  CHECK_THROWS_AS(training::MetricsWindow::from_json("{\"steps\": \"three\"}"), FormatError);
  CHECK_THROWS_AS(training::MetricsWindow::from_json("nonsense"), FormatError);
}

TEST_CASE("AppendFile: cuts what came after, goes on when deleted") {
  const std::string path = std::filesystem::temp_directory_path() / "ito_append_test.jsonl";
  std::filesystem::remove(path);
  std::ofstream(path) << "one\ntwo\n";
  {
    training::AppendFile file(path, 4);
    file.append("three");
    CHECK(file.size() == 10);
    CHECK(app::read_text(path) == "one\nthree\n");
    std::filesystem::remove(path);
    file.append("four");
    CHECK(app::read_text(path) == "four\n");
    CHECK(file.size() == 5);
  }
  std::ofstream(path) << "one\ntw";  // cut by a full disk, or by hand
  {
    training::AppendFile file(path, 100);
    file.append("two");
    CHECK(app::read_text(path) == "one\ntwo\n");
  }
  std::filesystem::remove(path);
}

TEST_CASE("differences: every key, on either side") {
  const std::string before = app::defaults_of_older_files(app::rows_of({}));
  const auto differences = [&](const std::string& stored, const std::string& now) {
    return training::differences(stored, now, before);
  };
  CHECK(differences("{\"a\":1,\"b\":2}", "{\"a\":1,\"b\":2}").empty());
  const auto lines = differences("{\"a\":1,\"b\":2}", "{\"b\":3,\"c\":4}");
  REQUIRE(lines.size() == 3);
  CHECK(lines[0] == "a: 1 in the checkpoint, nothing now");
  CHECK(lines[1] == "b: 2 in the checkpoint, 3 now");
  CHECK(lines[2] == "c: nothing in the checkpoint, 4 now");
  CHECK_THROWS_AS(differences("[]", "{}"), FormatError);
  // Checkpoints of older versions have no classes.
  CHECK(differences("{}", "{\"class_conditional\":false}").empty());
  CHECK(differences("{}", "{\"class_conditional\":true}").size() == 1);
}

TEST_CASE("run_program: one exit code for each kind of error") {
  const auto code = [](auto error) {
    return app::run_program("test", [&]() -> app::ExitCode { throw error; });
  };
  CHECK(app::run_program("test", [] { return app::ExitCode::success; }) == 0);
  CHECK(code(app::ProgramError(app::ExitCode::usage, "flag")) == 2);
  CHECK(code(FormatError("file")) == 3);
  CHECK(code(MemoryError("memory")) == 5);
  CHECK(code(DeviceError("device")) == 5);
  CHECK(code(IoError("disk")) == 5);
  CHECK(code(std::bad_alloc()) == 5);
  CHECK(code(std::runtime_error("other")) == 1);
  CHECK_THROWS_AS(
      app::with_exit_code(app::ExitCode::checkpoint, [] { throw MemoryError("memory"); }),
      MemoryError);
}
