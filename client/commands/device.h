// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "client/config.h"
#include "client/round/messages.h"

namespace fedtune {

// What this machine trains on, for administrators.
DeviceDescription DescribeDevice(const ClientConfig& config);

}  // namespace fedtune
