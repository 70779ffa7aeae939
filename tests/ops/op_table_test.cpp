// Runs every row of the op table through every check. One row: --subcase='softmax*'.
#include <doctest/doctest.h>

#include <exception>

#include "tests/ops/op_checks.h"

using namespace ito::optable;

namespace {

void run_all(Findings (*check)(const OpCase&)) {
  for (const OpCase& row : op_table()) {
    SUBCASE(row.name.c_str()) {
      try {
        for (const std::string& finding : check(row)) FAIL_CHECK(finding);
      } catch (const std::exception& e) {
        FAIL_CHECK(row.name, ": threw ", e.what());
      }
    }
  }
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
TEST_CASE("op table: bad inputs are refused with their error") { run_all(check_errors); }
