// Why a training run ended or could not begin: what a program needs to know for its exit code.
//
//   try {
//     training::TrainingRun run({.directory = "out/run"}, {flat, adam});
//     run.begin({.steps = 1000});
//   } catch (const training::RunError& e) {
//     const bool damaged = e.kind == training::RunError::Kind::checkpoint;
//     fmt::print("{}\n", e.what());
//   }
#pragma once

#include <utility>

#include "tensor/error.h"

namespace ito::training {

struct RunError : Error {
  enum class Kind {
    usage,       ///< the directory is in use, or holds another run
    checkpoint,  ///< a checkpoint that is damaged, missing or of another configuration
    non_finite,  ///< loss or gradients stayed NaN or infinite
    resource,    ///< the disk is full, or something cannot be written
  };
  RunError(Kind k, const std::string& text) : Error(text), kind(k) {}
  Kind kind;
};

/// Throws RunError with a formatted text.
template <class... A>
[[noreturn]] void stop(RunError::Kind kind, fmt::format_string<A...> text, A&&... args) {
  throw RunError(kind, fmt::format(text, std::forward<A>(args)...));
}

/// Runs `f`; the library's errors about files and values come out as RunError of this kind. Memory
/// and device errors keep their meaning.
template <class F>
decltype(auto) with_kind(RunError::Kind kind, F&& f) {
  try {
    return f();
  } catch (const RunError&) {
    throw;
  } catch (const MemoryError&) {
    throw;
  } catch (const DeviceError&) {
    throw;
  } catch (const Error& e) {
    throw RunError(kind, e.what());
  }
}

}  // namespace ito::training
