#include "benchmarks/profile_option.h"

#include <fmt/format.h>

#include "benchmarks/machine.h"
#include "tensor/profile_report.h"

namespace ito::bench {

void ProfileOption::add_to(CLI::App& app) {
  option_ = app.add_option("--profile", file_,
                           "say where the time went; --profile=FILE.json also writes a trace for "
                           "chrome://tracing or ui.perfetto.dev")
                ->expected(0, 1);
}

std::unique_ptr<profile::Profiling> ProfileOption::record() {
  return on() ? std::make_unique<profile::Profiling>(profile) : nullptr;
}

void ProfileOption::print(int steps, Device device) const {
  if (!on()) return;
  fmt::print("\nmean of {} steps: {:.2f} ms", steps, 1e3 * profile.seconds() / steps);
  profile::Peak peak;
  if (device.is_cpu()) {
    const Machine machine = measure_machine();
    peak = {machine.fma_flops, machine.copy_bytes};
    fmt::print("; this machine: multiply-adds {:.0f} GFLOP/s, copying {:.1f} GB/s",
               1e-9 * peak.flops, 1e-9 * peak.bytes);
  }
  fmt::print("\n\n{}", profile::tables(profile, steps, peak));
  if (file_.empty()) return;
  profile::write_trace(profile, file_);
  fmt::print("\ntrace: {}\n", file_);
}

}  // namespace ito::bench
