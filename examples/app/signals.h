// SIGINT and SIGTERM ask a training run to finish its step, save and exit. A second signal exits at
// once.
#pragma once

#include "examples/app/exit_codes.h"

namespace ito::app {

/// From now on the first SIGINT or SIGTERM is remembered and the second ends the process
/// immediately.
void catch_signals();

/// Whether a signal has asked the program to stop.
bool stop_requested();

/// The exit code of the signal that came: interrupted or terminated; success when none did.
ExitCode signal_exit_code();

/// For programs that have nothing to save before their end: throws ProgramError when a signal came.
void expect_no_signal();

}  // namespace ito::app
