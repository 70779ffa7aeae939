#include "examples/app/exit_codes.h"

#include <csignal>
#include <cstdio>
#include <new>
#include <system_error>

#include "examples/app/output.h"
#include "examples/app/processor_check.h"

namespace ito::app {
namespace {

int report(const char* name, ExitCode code, const char* text) {
  print(stderr, "{}: {}\n", name, text);
  return static_cast<int>(code);
}

ExitCode code_of(training::RunError::Kind kind) {
  using Kind = training::RunError::Kind;
  switch (kind) {
    case Kind::usage:
      return ExitCode::usage;
    case Kind::checkpoint:
      return ExitCode::checkpoint;
    case Kind::non_finite:
      return ExitCode::non_finite;
    case Kind::resource:
      break;
  }
  return ExitCode::resource;
}

// Everything that went to stdout must have arrived. A reader that left (EPIPE) has what it wanted.
ExitCode after_stdout(const char* name, ExitCode code) {
  note_stdout_error(std::fflush(stdout) == 0);
  if (code != ExitCode::success || stdout_error == 0 || stdout_error == EPIPE) return code;
  report(name, ExitCode::resource,
         fmt::format("standard output: {}", std::generic_category().message(stdout_error)).c_str());
  return ExitCode::resource;
}

}  // namespace

int run_program(const char* name, const std::function<ExitCode()>& body) {
  check_processor();  // has been called before main; named here so that it is linked
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);
  try {
    return static_cast<int>(after_stdout(name, body()));
  } catch (const ProgramError& e) {
    return report(name, e.code, e.what());
  } catch (const training::RunError& e) {
    return report(name, code_of(e.kind), e.what());
  } catch (const MemoryError& e) {
    const auto advice = fmt::format(
        "{}\n  to need less memory, lower the batch (--batch; sample: --batch) or the network's "
        "width "
        "(--channels)",
        e.what());
    return report(name, ExitCode::resource, advice.c_str());
  } catch (const std::bad_alloc&) {
    return report(name, ExitCode::resource, "out of memory; lower --batch or --channels");
  } catch (const DeviceError& e) {
    return report(name, ExitCode::resource, e.what());
  } catch (const FormatError& e) {
    return report(name, ExitCode::bad_data, e.what());
  } catch (const IoError& e) {
    return report(name, ExitCode::resource, e.what());
  } catch (const std::exception& e) {
    return report(name, ExitCode::unexpected, e.what());
  }
}

}  // namespace ito::app
