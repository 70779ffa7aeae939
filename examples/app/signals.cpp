#include "examples/app/signals.h"

#include <unistd.h>

#include <atomic>
#include <csignal>

namespace ito::app {
namespace {

std::atomic<int> received{0};
static_assert(std::atomic<int>::is_always_lock_free, "a signal handler may only touch such a flag");

// Only async-signal-safe calls.
void on_signal(int signal) {
  int none = 0;
  if (!received.compare_exchange_strong(none, signal)) ::_exit(128 + signal);
}

}  // namespace

void catch_signals() {
  struct sigaction action = {};
  action.sa_handler = on_signal;
  sigemptyset(&action.sa_mask);
  action.sa_flags = SA_RESTART;  // a signal does not make a write fail
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}

bool stop_requested() { return received.load() != 0; }

ExitCode signal_exit_code() {
  switch (received.load()) {
    case SIGINT:
      return ExitCode::interrupted;
    case SIGTERM:
      return ExitCode::terminated;
    default:
      return ExitCode::success;
  }
}

void expect_no_signal() {
  if (stop_requested()) {
    throw ProgramError(signal_exit_code(), "stopped by a signal; nothing was written");
  }
}

}  // namespace ito::app
