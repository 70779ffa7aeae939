#include "benchmarks/process.h"

#include <sys/resource.h>

#include <algorithm>
#include <fstream>
#include <string>

namespace ito::bench {
namespace {

rusage usage() {
  rusage result{};
  getrusage(RUSAGE_SELF, &result);
  return result;
}

double seconds(const timeval& t) {
  return static_cast<double>(t.tv_sec) + 1e-6 * static_cast<double>(t.tv_usec);
}

// A line "VmHWM:    1234 kB" of /proc/self/status, in bytes.
std::int64_t status_bytes(const std::string& name) {
  std::ifstream status("/proc/self/status");
  for (std::string key; status >> key;) {
    if (key == name + ":") {
      std::int64_t kib = 0;
      status >> kib;
      return 1024 * kib;
    }
    std::getline(status, key);
  }
  return 0;
}

}  // namespace

double processor_seconds() {
  const rusage now = usage();
  return seconds(now.ru_utime) + seconds(now.ru_stime);
}

std::int64_t page_faults() { return usage().ru_minflt; }

// 5 sets the peak, VmHWM, back to what is resident now (proc(5)).
ResidentMemory::ResidentMemory() {
  std::ofstream("/proc/self/clear_refs") << "5\n";
  begin_ = status_bytes("VmRSS");
}

std::int64_t ResidentMemory::peak() const {
  return std::max<std::int64_t>(0, status_bytes("VmHWM") - begin_);
}

}  // namespace ito::bench
