// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <functional>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "proto/fedtune/v1/administration.pb.h"

namespace fedtune {

// How long a coordinator is waited for that did not answer, and how often it is asked.
inline constexpr absl::Duration kComesBackWithin = absl::Seconds(20);
inline constexpr absl::Duration kTriedEvery = absl::Seconds(1);

// What `ask` gives, which starts a run: asked again, the same request starts no second one.
// That is done while nobody knows whether it was heard, because the connection broke off
// or no answer came in time. `wait` lets time pass on `clock`.
//
// UNAVAILABLE, DEADLINE_EXCEEDED: there was no answer; if the run may have begun, the
// message says so.
absl::StatusOr<v1::RunStatus> AskUntilAnswered(
    const std::function<absl::StatusOr<v1::RunStatus>()>& ask, const Clock& clock,
    const std::function<void(absl::Duration)>& wait);

}  // namespace fedtune
