// SPDX-License-Identifier: Apache-2.0

#include "base/exit_code.h"

#include <string>
#include <utility>

#include "absl/strings/cord.h"
#include "fmt/format.h"

namespace fedtune {
namespace {

// Where a status carries the exit code that WithExitCode() chose.
constexpr char kExitCodePayload[] = "fedtune/exit_code";

}  // namespace

int ExitCodeFor(const absl::Status& status) {
  if (const auto chosen = status.GetPayload(kExitCodePayload)) {
    return std::string(*chosen).front() - '0';
  }
  switch (status.code()) {
    case absl::StatusCode::kOk:
      return static_cast<int>(ExitCode::kDone);
    case absl::StatusCode::kInvalidArgument:
      return static_cast<int>(ExitCode::kUsage);
    case absl::StatusCode::kPermissionDenied:
    case absl::StatusCode::kUnauthenticated:
      return static_cast<int>(ExitCode::kRefused);
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kDeadlineExceeded:
      return static_cast<int>(ExitCode::kUnreachable);
    default:
      return static_cast<int>(ExitCode::kFailed);
  }
}

absl::Status WithExitCode(absl::Status status, ExitCode code) {
  status.SetPayload(kExitCodePayload, absl::Cord(fmt::format("{}", static_cast<int>(code))));
  return status;
}

absl::Status OfNamedFile(absl::Status status) {
  const bool unreadable = absl::IsNotFound(status) || absl::IsPermissionDenied(status);
  return unreadable ? WithExitCode(std::move(status), ExitCode::kUsage) : status;
}

}  // namespace fedtune
