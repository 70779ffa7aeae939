// Runs every row of the op table through every check. One row: --subcase='softmax*'.
#include <doctest/doctest.h>

#include <exception>
#include <string>

#include "tests/devices.h"
#include "tests/ops/op_checks.h"

using namespace ito::optable;

namespace {

// The findings of one check of one row; an exception is a finding too.
std::string report_of(Findings (*check)(const OpCase&), const OpCase& row) {
  std::string report;
  try {
    for (const std::string& finding : check(row)) report += finding + "\n";
  } catch (const std::exception& e) {
    report += row.name + ": threw " + e.what();
  }
  return report;
}

void run_all(Findings (*check)(const OpCase&)) {
  for (const OpCase& row : op_table()) {
    SUBCASE(row.name.c_str()) {
      const std::string report = report_of(check, row);
      CHECK_MESSAGE(report.empty(), report);
    }
  }
}

void run_on_device(Findings (*check)(const OpCase&)) {
  if (ito::testing::device_answers()) run_all(check);
}

}  // namespace

TEST_CASE("op table: forward equals the reference") { run_all(check_forward); }
TEST_CASE("op table: the gradient equals central differences") { run_all(check_gradient); }
TEST_CASE("op table: the second gradient equals differences of the gradient") {
  run_all(check_second_gradient);
}
TEST_CASE("op table: f32 agrees with f64, forward and backward") { run_all(check_precision); }
TEST_CASE("op table: any number of threads gives the same bits") { run_all(check_threads); }
TEST_CASE("op table: every device agrees with the CPU") { run_all(check_devices); }
TEST_CASE("op table: bf16 on the device agrees with f64 on the CPU") { run_on_device(check_bf16); }
TEST_CASE("op table: the device takes inputs that start at an odd element") {
  run_on_device(check_misaligned);
}
TEST_CASE("op table: the device gives the same bits in every run and order") {
  run_on_device(check_repeat);
}
TEST_CASE("op table: bad inputs are refused with their error") { run_all(check_errors); }
