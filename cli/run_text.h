// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <string>

#include "absl/time/time.h"
#include "proto/fedtune/v1/administration.pb.h"

namespace fedtune {

// Runs and clients as people read them. Pure.

// "running", "finished", ...
std::string StateName(v1::RunStatus::State state);

bool HasEnded(v1::RunStatus::State state);

// "1.402 -> 1.334"; "-" when nothing has been evaluated.
std::string LossText(const v1::RunStatus& run);

// The table of `fedtune run list`.
std::string RunTable(const v1::ListRunsResponse& runs, absl::Time now);

// `fedtune run show`.
std::string RunDetails(const v1::GetRunResponse& run, absl::Time now);

// The live block of `--watch`, several lines; redrawn in place on a terminal.
std::string WatchBlock(const v1::RunStatus& run);

// One line for a pipe: round, phase, loss.
std::string WatchLine(const v1::RunStatus& run);

// How a run ended: the last line of a watch.
std::string EndText(const v1::RunStatus& run);

std::string ClientTable(const v1::ListClientsResponse& clients, absl::Time now);
std::string ClientDetails(const v1::ClientStatus& client, absl::Time now);

std::string ModelTable(const v1::ListModelsResponse& models);

}  // namespace fedtune
