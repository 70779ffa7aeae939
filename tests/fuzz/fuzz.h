// A fuzz target is one function: does the reader accept these bytes as a file?
//
// From one source file come two programs: with clang and ITO_BUILD_FUZZERS a libFuzzer program that
// invents inputs, and with any compiler a replay of corpus/<name>/, in which files called ok_* must
// be accepted and files called bad_* refused. So a bound removed from a reader shows in every
// build, and what a fuzzer finds becomes a file of the corpus.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <stdexcept>
#include <string>

#include "tensor/error.h"

namespace ito::fuzz {

/// Defined by each target. False when the reader refuses with FormatError. Whatever else is thrown
/// is a finding and must escape, as must a broken promise (see `expect`).
bool accepts(std::span<const std::uint8_t> input);

/// A property of every input: stops the program that is fuzzing when it does not hold.
inline void expect(bool holds, const char* property) {
  if (!holds) throw std::logic_error(std::string("broken property: ") + property);
}

/// Whether `read()` returns rather than throws FormatError.
template <class F>
bool succeeds(F&& read) {
  try {
    read();
    return true;
  } catch (const FormatError&) {
    return false;
  }
}

}  // namespace ito::fuzz
