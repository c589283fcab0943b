// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <string>

#include "absl/status/status.h"
#include "base/printable_text.h"
#include "grpcpp/support/status.h"

namespace fedtune {

// What the caller is told of an error; longer messages would not arrive, for the
// RPC library limits the headers in which they travel.
inline constexpr size_t kLongestMessage = 2000;

// absl and gRPC share the same code numbers by design.
inline grpc::Status ToGrpcStatus(const absl::Status& status) {
  std::string message(status.message());
  if (message.size() > kLongestMessage) message = PrintableText(message, kLongestMessage);
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()), message);
}

}  // namespace fedtune
