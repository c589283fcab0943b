// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <string_view>

#include "absl/status/status.h"
#include "absl/strings/cord.h"
#include "fmt/format.h"

namespace fedtune {

// The message as the standard's string_view. Debian builds abseil with a
// string_view type of its own, so our interfaces use std::string_view and our
// messages fmt::format; this is the one place where the two meet.
inline std::string_view Message(const absl::Status& status) {
  return {status.message().data(), status.message().size()};
}

// `status` with "context: " before its message, and all else that it carries, such as the
// exit code that was chosen for it (base/exit_code.h).
inline absl::Status Annotate(const absl::Status& status, std::string_view context) {
  if (status.ok()) return status;
  absl::Status annotated(status.code(), fmt::format("{}: {}", context, Message(status)));
  status.ForEachPayload([&annotated](absl::string_view type, const absl::Cord& payload) {
    annotated.SetPayload(type, payload);
  });
  return annotated;
}

}  // namespace fedtune
