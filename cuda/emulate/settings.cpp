#include "cuda/emulate/settings.h"

#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <string>

namespace ito::emulate {
namespace {

int number(const char* variable, int otherwise) {
  const char* value = std::getenv(variable);
  return value && *value ? std::atoi(value) : otherwise;
}

Model read_model() {
  Model m;
  m.architecture = number("ITO_EMULATE_ARCH", m.architecture);
  // CUDA C++ Programming Guide, "Technical Specifications per Compute Capability".
  if (m.architecture == 80) m.shared_opt_in = 163 * 1024;
  if (m.architecture == 86 || m.architecture == 89) m.shared_opt_in = 99 * 1024;
  m.multiprocessors = number("ITO_EMULATE_SMS", m.multiprocessors);
  m.error = number("ITO_EMULATE_ERROR", 0);
  m.report_leaks = number("ITO_EMULATE_LEAKS", 0) == 1;
  m.blocking = number("CUDA_LAUNCH_BLOCKING", 0) == 1;
  return m;
}

// Before main: the order is a setting of the process.
const bool order_is_set = [] {
  const char* value = std::getenv("ITO_EMULATE_ORDER");
  const std::string order = value ? value : "";
  if (order == "reversed") set_order(Order::reversed);
  if (order == "shuffled") set_order(Order::shuffled);
  if (order.starts_with("shuffled:"))
    set_order(Order::shuffled, static_cast<std::uint32_t>(std::atoi(order.c_str() + 9)));
  return true;
}();

int failing_allocation = 0, failing_launch = 0, launch_error = 0;

// Counts down to the call that must fail.
bool is_due(int& countdown) { return countdown > 0 && --countdown == 0; }

}  // namespace

const Model& model() {
  static const Model m = read_model();
  return m;
}

Counts& counters() {
  static Counts c;
  return c;
}
Counts counts() { return counters(); }

void fail_allocation(int nth) { failing_allocation = nth; }
void fail_launch(int nth, int error) {
  failing_launch = nth;
  launch_error = error;
}
bool allocation_must_fail() { return is_due(failing_allocation); }
bool launch_must_fail(int* error) {
  *error = launch_error;
  return is_due(failing_launch);
}

void broken_rule(const char* format, ...) {
  std::fflush(nullptr);
  std::fputs("emulated device: ", stderr);
  va_list arguments;
  va_start(arguments, format);
  std::vfprintf(stderr, format, arguments);
  va_end(arguments);
  std::fputc('\n', stderr);
  std::_Exit(70);
}

}  // namespace ito::emulate
