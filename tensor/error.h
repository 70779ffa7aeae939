// Errors. The library never aborts and never prints: it throws one of these.
//
// Text: `op: rule; got name dtype[shape] on device, ...`, for example
//   group_norm: groups must divide channels; got x f32[16, 32, 32, 30] on cpu, groups = 8
// Programs map the type to an exit code (examples/app/exit_codes.h).
//
//   try {
//     x = data::read_png("photo.png");
//   } catch (const FormatError& e) {      // or Error, the base of all
//     fmt::print("{}\n", e.what());
//   }
#pragma once

#include <stdexcept>
#include <string>

#if !defined( \
    __CUDACC__)  // fmt 9 is not valid device-compiler input; .cu files throw without fail()
#include <fmt/format.h>
#endif

namespace ito {

/// Base of everything ito throws.
struct Error : std::runtime_error {
  using std::runtime_error::runtime_error;
};
struct ShapeError : Error {  ///< sizes do not fit together
  using Error::Error;
};
struct DTypeError : Error {  ///< an element type that the operation does not take
  using Error::Error;
};
struct DeviceError : Error {  ///< wrong, missing or failing device
  using Error::Error;
};
struct ValueError : Error {  ///< an argument outside its range
  using Error::Error;
};
struct GradError : Error {  ///< misuse of differentiation: freed graph, changed input, ...
  using Error::Error;
};
struct IoError : Error {  ///< a file that cannot be read or written (permissions, disk)
  using Error::Error;
};
struct FormatError : Error {  ///< a file that is not what it should be: truncated, damaged, hostile
  using Error::Error;
};
struct MemoryError : Error {  ///< out of memory; the text has the bytes asked for and in use
  using Error::Error;
};

#if !defined(__CUDACC__)
/// Throws `E` with a formatted text: `fail<ShapeError>("matmul: ...; got {}", ...)`.
template <class E, class... A>
[[noreturn]] void fail(fmt::format_string<A...> text, A&&... args) {
  throw E(fmt::format(text, std::forward<A>(args)...));
}
#endif

}  // namespace ito
