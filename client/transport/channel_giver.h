// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <grpcpp/channel.h>

#include <functional>
#include <memory>

namespace fedtune {

// The channel of the moment: another one takes the place of one over which a certificate
// was shown that has expired since.
using ChannelGiver = std::function<std::shared_ptr<grpc::Channel>()>;

}  // namespace fedtune
