// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "client/commands/client_end.h"
#include "client/training/trainer.h"

namespace fedtune {

// A trainer as it was opened, or why it was not. Where either finds that this process has
// lost its device, the client ends, so that its supervisor starts another one: it would
// fail in every round until somebody looks. `end` must outlive the trainer.
absl::StatusOr<std::unique_ptr<Trainer>> EndingWithDevice(
    absl::StatusOr<std::unique_ptr<Trainer>> opened, ClientEnd& end);

}  // namespace fedtune
