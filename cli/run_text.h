// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <string>

#include "absl/time/time.h"
#include "proto/fedtune/v1/administration.pb.h"

namespace fedtune {

// Runs and clients as people read them. Pure.

// "running", "finished", ...
std::string StateName(v1::RunStatus::State state);

// "paused after 2 of 12 rounds: maintenance"; "goes on, 2 of 12 rounds are done";
// "pauses when round 3 of 12 is over: maintenance". Requires: it has not ended.
std::string PauseText(const v1::RunStatus& run);

// "the coordinator waits: disk full ..."; empty: it does not, or the run pauses or has
// ended.
std::string WaitText(const v1::RunStatus& run);

// What `run stop` answers of a run that has not ended yet: "stops when the release of
// round 49 of 150 is stored".
std::string StoppingText(const v1::RunStatus& run);

// "1.402 -> 1.334"; "-" when nothing has been evaluated.
std::string LossText(const v1::RunStatus& run);

// "loss 0.444, accuracy 76.3 % among each client's own answers".
std::string EvaluationText(const v1::EvaluationSummary& evaluation);

// The same of the last one; it says so where the adapter was an older one.
std::string LastEvaluationText(const v1::RunStatus& run);

// "training loss 1.334, 4 contributions, 41 min"; requires run.has_last_round().
std::string LastRoundText(const v1::RunStatus& run);

// How many rounds have burnt, and why the newest of them did; empty if none did.
std::string BurntText(const v1::GetRunResponse& response);

// "st-anna makes up 99.9 % of a mean over all of them, by the 1,000,000 records ..."; empty
// unless one client counts for more than nine times all others, and while clients are
// still being invited.
std::string LargestShareText(const v1::RunStatus& run);

// "load varies by 0.31 to 0.62 between the experts of 26 layers (deviation over
// mean); 1.2 % had no token"; empty when nothing was counted.
std::string RoutingText(const v1::RoundSummary& round);

// The table of `fedtune run list`.
std::string RunTable(const v1::ListRunsResponse& runs, absl::Time now);

// `fedtune run show`.
std::string RunDetails(const v1::GetRunResponse& run, absl::Time now);

std::string ClientTable(const v1::ListClientsResponse& clients, absl::Time now);
std::string ClientDetails(const v1::ClientStatus& client, absl::Time now);

std::string ModelTable(const v1::ListModelsResponse& models);

}  // namespace fedtune
