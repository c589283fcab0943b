// SPDX-License-Identifier: Apache-2.0

#include "client/commands/work_log.h"

#include <utility>

#include "base/progress.h"
#include "fmt/format.h"

namespace fedtune {
namespace {

constexpr absl::Duration kInterval = absl::Minutes(1);

void Say(const WorkProgress& progress, Log& log) {
  const LogField run = Field("run", progress.id.run);
  const LogField round = Field("round", progress.id.round + 1);
  const LogField phase = Field("phase", ToString(progress.phase));
  const LogField done = Field("done", fmt::format("{:.0f}%", 100 * progress.fraction));
  if (progress.tokens_per_second == 0) return log.Info("at work", {run, round, phase, done});
  log.Info("at work",
           {run, round, phase, done,
            Field("tokens_per_second", fmt::format("{:.0f}", progress.tokens_per_second))});
}

}  // namespace

WorkObserver WorkTo(const Clock& clock, Log& log) {
  return [&clock, &log, id = AttemptId(),
          pace = ProgressPace(clock, kInterval)](const WorkProgress& progress) mutable {
    if (std::exchange(id, progress.id) != progress.id) pace = ProgressPace(clock, kInterval);
    if (pace.IsDue()) Say(progress, log);
  };
}

}  // namespace fedtune
