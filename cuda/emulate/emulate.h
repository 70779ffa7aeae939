// The emulated CUDA device: runs the kernels of cuda/ on the CPU, by CUDA's rules.
//
// The same .cu files are compiled by the host compiler against cuda/emulate/include. A thread of a
// block is a fiber: a stack of its own, and a switch of six registers to go from one to the next
// (fiber.cpp). A thread runs until it has to wait for others (a barrier, a shuffle); then the
// scheduler (block.cpp) goes on with another that is ready. Blocks run one after another. Work is
// queued per stream and runs when the host waits for it (stream.cpp).
#pragma once

#include <cstdint>

namespace ito::emulate {

enum class Order { forward, reversed, shuffled };

/// In which order blocks, and threads that are ready, take their turns. A kernel whose result
/// depends on it has a race.
void set_order(Order order, std::uint32_t seed = 1);

}  // namespace ito::emulate
