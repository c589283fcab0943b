// SPDX-License-Identifier: Apache-2.0

#include "coordinator/driver/clients/repeated_news.h"

namespace fedtune {

RepeatedNews::Say RepeatedNews::Note(const Institution& client, absl::Duration now) {
  Told& told = told_[client];
  if (told.times == 0 || now - told.since >= kWithin) told = {.since = now, .times = 0};
  ++told.times;
  if (told.times > kMost) return Say::kNothing;
  return told.times == kMost ? Say::kThatItIsTheLast : Say::kIt;
}

}  // namespace fedtune
