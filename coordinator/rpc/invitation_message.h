// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <grpcpp/support/byte_buffer.h>

#include <memory>

#include "coordinator/driver/clients/client_line.h"

namespace fedtune {

// ToMessage() of an invitation, as it is sent. Its long texts, a layout may have some
// megabytes, stay where they are for all clients that they are sent to.
grpc::ByteBuffer InvitationMessage(const RunId& run, const RunInvitation& invitation);

}  // namespace fedtune
