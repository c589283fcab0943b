// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "absl/status/status.h"
#include "base/clock.h"
#include "client/commands/config_flags.h"
#include "client/commands/trainer_factory.h"

namespace fedtune {

// Serves the coordinator until SIGTERM or SIGINT. Without a coordinator it tries
// again for as long as it takes.
//
// Fails at once, and says why, when configuration, policy, certificate, data sets
// or the configured device cannot be used.
absl::Status Serve(const ConfigSource& source, const TrainerFactory& trainers, const Clock& clock);

}  // namespace fedtune
