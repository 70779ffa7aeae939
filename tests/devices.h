// The devices that a test runs on.
#pragma once

#include <doctest/doctest.h>

#include <cstdlib>
#include <vector>

#include "tensor/build.h"
#include "tensor/device.h"

namespace ito::testing {

/// Whether the test can use the device. A build that has the backend, on a machine where no device
/// answers, says that the test is skipped; with ITO_REQUIRE_DEVICE in the environment it fails.
inline bool device_answers() {
  if (!build::cuda) return false;
  if (available(Device::cuda())) return true;
  CHECK_MESSAGE(std::getenv("ITO_REQUIRE_DEVICE") == nullptr, why_unavailable(Device::cuda()));
  WARN_MESSAGE(false, "SKIPPED on the device: " << why_unavailable(Device::cuda()));
  return false;
}

/// The CPU and, where it answers, the device.
inline std::vector<Device> devices() {
  std::vector<Device> all{Device::cpu()};
  if (device_answers()) all.push_back(Device::cuda());
  return all;
}

}  // namespace ito::testing
