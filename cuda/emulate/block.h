// The threads of the block that runs: who is ready, who waits for what. See emulate.h.
#pragma once

#include <cstdint>
#include <functional>

#include "cuda/emulate/device.h"

namespace ito::emulate {

inline constexpr unsigned max_threads = 1024;
inline constexpr unsigned warp_lanes = 32;
inline constexpr unsigned max_warps = max_threads / warp_lanes;

struct Grid {
  dim3 grid, block;
  std::size_t dynamic_shared = 0;
  std::size_t shared_limit = 48 * 1024;
  const std::function<void()>* thread = nullptr;
};

// Runs all blocks of a grid, one after another, in the order that set_order asks for.
void run_grid(const Grid& grid);

// warp.cpp: the common work of the lanes in `lanes`; calls[lane] of all of them are here.
void complete(Rendezvous* const (&calls)[warp_lanes], unsigned lanes);

}  // namespace ito::emulate
