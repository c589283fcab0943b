// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "base/clock.h"
#include "base/logging.h"
#include "client/round/workshop.h"

namespace fedtune {

// Says in `log` how far a round's work is: not in its first two seconds, and then once a
// minute, for as long as it takes. For one thread at a time. Both must outlive it.
WorkObserver WorkTo(const Clock& clock, Log& log);

}  // namespace fedtune
