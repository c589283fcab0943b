// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "coordinator/driver/clients/client_line.h"
#include "coordinator/rounds/run_events.h"
#include "coordinator/storage/federation_store.h"
#include "privacy/crypto/sha256.h"
#include "proto/fedtune/v1/training.pb.h"

namespace fedtune {

// What clients send, as the domain's structs. Sizes and ranges are checked by
// whoever takes them; here only what a struct cannot hold.

// A client's event with the run it is about.
struct RunClientEvent {
  RunId run;
  ClientEvent event;
};

// INVALID_ARGUMENT: empty, or a second hello.
absl::StatusOr<RunClientEvent> FromMessage(const v1::ClientMessage& message);

struct SubmittedHeader {
  RunId run;
  ContributionHeader header;
};

// INVALID_ARGUMENT: a digest that is not 32 bytes long.
absl::StatusOr<SubmittedHeader> FromMessage(const v1::ContributionHeader& message);

// Without institution, times and certificate, which no message says.
ClientRecord FromMessage(const v1::Hello& hello);

v1::CoordinatorMessage ToMessage(const ClientCommand& command);

// The answer to a hello of `client`; `under_way` as ClientGateway says.
v1::CoordinatorMessage WelcomeMessage(const std::string& federation, const Institution& client,
                                      const std::optional<std::vector<RunId>>& under_way);

}  // namespace fedtune
