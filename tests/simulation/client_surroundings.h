// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "coordinator/rounds/names.h"
#include "privacy/crypto/sha256.h"
#include "proto/fedtune/v1/training.pb.h"

namespace fedtune::simulation {

// A client's end of a session.
class SessionEnd {
 public:
  virtual ~SessionEnd() = default;
  virtual void Send(const v1::ClientMessage& message) = 0;
  // The client's process has ended.
  virtual void Abandon() = 0;
};

// Who listens at it; gone when the process has ended.
struct SessionEars {
  std::function<void(const v1::CoordinatorMessage&)> heard;
  std::function<void()> lost;
};

// The network as a client's process sees it. Coordinator and client know each
// other by their messages alone, and so do these files: some names mean one thing
// here and another there.
class ClientSurroundings {
 public:
  virtual ~ClientSurroundings() = default;

  // Null: nobody answers.
  virtual std::unique_ptr<SessionEnd> Connect(const Institution& client, SessionEars ears) = 0;

  // Calls, in one try; they take time, in which the caller's process may end.
  // `is_alive` is asked after each pause; ProcessEnded is thrown when it says no.
  virtual absl::StatusOr<std::string> Fetch(const Institution& client, const Digest& digest,
                                            const std::function<bool()>& is_alive) = 0;
  virtual absl::Status Submit(const Institution& client, const v1::ContributionHeader& header,
                              std::string_view bytes, const std::function<bool()>& is_alive) = 0;

  // For the auditor: what is masked, without its masks.
  virtual void Masks(const Institution& client, int64_t round, int64_t attempt,
                     std::vector<uint32_t> elements) = 0;

  virtual void Ended(const Institution& client, const std::filesystem::path& journal) = 0;
  virtual uint64_t TrainingNonce() = 0;
};

}  // namespace fedtune::simulation
