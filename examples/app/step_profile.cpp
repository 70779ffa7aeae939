#include "examples/app/step_profile.h"

#include <fmt/format.h>

#include "examples/app/exit_codes.h"
#include "examples/app/files.h"
#include "tensor/parallel.h"
#include "tensor/profile_report.h"

namespace ito::app {

void StepProfile::run(Graph& step) {
  if (!enabled_ || made_++ < warmup) return step.run();
  {
    const profile::Recording on(profile_);
    step.run();
  }
  if (made_ < warmup + steps) return;
  enabled_ = false;
  write();
}

void StepProfile::write() const {
  with_exit_code(ExitCode::resource, [&] {
    const std::string text =
        fmt::format("mean of {} steps: {:.2f} ms, {} threads\n\n{}", steps,
                    1e3 * profile_.seconds() / steps, num_threads(), tables(profile_, steps));
    write_text(folder_ + "/profile.txt", text);
    write_text(folder_ + "/profile.json", trace(profile_));
  });
}

}  // namespace ito::app
