// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "coordinator/driver/run_administration.h"
#include "coordinator/driver/run_overview.h"
#include "coordinator/storage/federation_store.h"
#include "coordinator/storage/run_store.h"
#include "proto/fedtune/v1/administration.pb.h"

namespace fedtune {

// What administrators see, as messages.

v1::RunStatus ToMessage(const RunOverview& run);
v1::RoundSummary ToMessage(const ReleaseRecord& release);
// Adds the tokens of each expert to the message of a release.
void FillExpertTokens(const ReleaseRecord& release, v1::RoundSummary& message);
v1::ClientStatus ToMessage(const ClientOverview& client);
v1::ModelEntry ToMessage(const ModelRecord& model);

}  // namespace fedtune
