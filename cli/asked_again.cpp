// SPDX-License-Identifier: Apache-2.0

#include "cli/asked_again.h"

#include "base/status.h"
#include "cli/patience.h"
#include "rpc/channel.h"

namespace fedtune {
namespace {

bool MayHaveBeenHeard(const absl::Status& status) {
  return BrokeOff(status) || absl::IsDeadlineExceeded(status);
}

bool IsNoAnswer(const absl::Status& status) {
  return absl::IsUnavailable(status) || absl::IsDeadlineExceeded(status);
}

}  // namespace

absl::StatusOr<v1::RunStatus> AskUntilAnswered(
    const std::function<absl::StatusOr<v1::RunStatus>()>& ask, const Clock& clock,
    const std::function<void(absl::Duration)>& wait) {
  absl::StatusOr<v1::RunStatus> run = ask();
  if (!MayHaveBeenHeard(run.status())) return run;
  const Patience patience(clock, kComesBackWithin);
  while (IsNoAnswer(run.status()) && !patience.is_over()) {
    wait(kTriedEvery);
    run = ask();
  }
  if (!IsNoAnswer(run.status())) return run;
  return Annotate(run.status(), "the run may have begun; fedtune run list shows it");
}

}  // namespace fedtune
