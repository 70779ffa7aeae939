// What the exit code of a program means, and the one place that turns an exception into one.
//
//   int main(int argc, char** argv) {
//     return app::run_program("sample", [&] { ...; return app::ExitCode::success; });
//   }
//
// The library says what went wrong (its error type); a program also knows what it was doing. A file
// that cannot be read is exit 3 when it is a data set and 6 when it is a checkpoint, so programs
// wrap such work in `with_exit_code`.
#pragma once

#include <functional>
#include <stdexcept>
#include <string>

#include "diffusion/training/run_error.h"
#include "tensor/error.h"

namespace ito::app {

enum class ExitCode : int {
  success = 0,
  unexpected = 1,     ///< an error that no program foresaw
  usage = 2,          ///< flags or configuration; also: the output directory is in use
  bad_data = 3,       ///< an input or data file
  non_finite = 4,     ///< loss or gradients stayed NaN or infinite
  resource = 5,       ///< no usable device, out of memory, disk full
  checkpoint = 6,     ///< a checkpoint that is damaged, missing, incompatible or of another run
  interrupted = 130,  ///< SIGINT, after saving
  terminated = 143,   ///< SIGTERM, after saving
};

/// An error with the exit code it ends the program with.
struct ProgramError : std::runtime_error {
  ProgramError(ExitCode exit_code, const std::string& text)
      : std::runtime_error(text), code(exit_code) {}
  ExitCode code;
};

/// Throws ProgramError with a formatted text.
template <class... A>
[[noreturn]] void stop(ExitCode code, fmt::format_string<A...> text, A&&... args) {
  throw ProgramError(code, fmt::format(text, std::forward<A>(args)...));
}

/// Runs `f`; the library's errors about files and values come out as ProgramError with `code`.
/// Memory and device errors (resource) and those of a training run keep their meaning.
template <class F>
decltype(auto) with_exit_code(ExitCode code, F&& f) {
  try {
    return f();
  } catch (const training::RunError&) {
    throw;
  } catch (const MemoryError&) {
    throw;
  } catch (const DeviceError&) {
    throw;
  } catch (const Error& e) {
    throw ProgramError(code, e.what());
  }
}

/// Runs a program's body and returns its exit code; prints the text of an exception to stderr as
/// "name: text". SIGPIPE and SIGXFSZ are ignored from here on, so that a closed pipe or a full disk
/// is an error of the write instead of the end of the program.
int run_program(const char* name, const std::function<ExitCode()>& body);

}  // namespace ito::app
