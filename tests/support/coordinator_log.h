// SPDX-License-Identifier: Apache-2.0

// A coordinator's log in memory, and a line to it, for tests of those who look at it.

#pragma once

#include <algorithm>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "client/round/coordinator_link.h"
#include "privacy/audit/log_entry.h"
#include "privacy/audit/log_proof.h"
#include "privacy/crypto/canonical_bytes.h"
#include "privacy/crypto/merkle_tree.h"
#include "privacy/identity/certificate_authority.h"
#include "tests/support/signing_coordinator.h"

namespace fedtune::testing {

inline const absl::Time kLogTime = absl::FromUnixSeconds(1'800'000'000);  // 2027-01-15

// A federation's authority and its coordinator.
class LogSigner {
 public:
  SignedCheckpoint Sign(const LogHead& head) const {
    return coordinator_.Sign({.federation = "north", .head = head});
  }
  std::string authority() const { return authority_.ToPem(); }

 private:
  CertificateAuthority authority_ =
      *CertificateAuthority::Create("north", absl::Hours(24 * 365), kLogTime);
  SigningCoordinator coordinator_{authority_, kLogTime};
};

// Copied, it goes on another way: a backup, or the other face of a log with two.
class CoordinatorLog {
 public:
  explicit CoordinatorLog(std::shared_ptr<const LogSigner> signer) : signer_(std::move(signer)) {
    Append(LogBegun{"5f2c"});
  }

  void Append(LogEvent event) {
    entries_.push_back(WriteLogEntry({.at = kLogTime, .event = event}));
    events_.push_back(std::move(event));
    tree_.Append(MerkleLeaf(SpanOf(entries_.back())));
  }

  LogHead head() const { return {size(), LogRoot(tree_, size()).value()}; }
  SignedCheckpoint SignedHead() const { return signer_->Sign(head()); }

  absl::StatusOr<LogProof> Prove(const LogQuestion& question) const {
    const auto found = std::find_if(events_.rbegin(), events_.rend(), [&](const LogEvent& event) {
      return Answers(event, question);
    });
    if (found == events_.rend()) return absl::NotFoundError("no such entry");
    return Show(static_cast<uint64_t>(events_.rend() - found - 1), question.seen_size);
  }

  LogProof Show(uint64_t index, uint64_t seen_size) const {
    LogProof proof{.checkpoint = SignedHead(),
                   .consistency = {},
                   .entry = entries_[index],
                   .index = index,
                   .inclusion = LogInclusionProof(tree_, index, size()).value()};
    if (seen_size <= size()) {
      proof.consistency = LogConsistencyProof(tree_, seen_size, size()).value();
    }
    return proof;
  }

  uint64_t size() const { return tree_.size(); }

 private:
  static bool Answers(const LogEvent& event, const LogQuestion& question) {
    if (const auto* opened = std::get_if<RoundOpened>(&event)) {
      return opened->run == question.run && opened->round == question.round &&
             opened->attempt == question.attempt;
    }
    if (question.run.empty()) return std::holds_alternative<LogBegun>(event);
    const auto* started = std::get_if<RunStarted>(&event);
    return started != nullptr && started->run == question.run && question.attempt == 0;
  }

  std::shared_ptr<const LogSigner> signer_;
  std::vector<std::string> entries_;
  std::vector<LogEvent> events_;
  LogSubtrees tree_;
};

// A line to a coordinator of which only the log matters.
class LogLink final : public CoordinatorLink {
 public:
  using Answer = std::function<absl::StatusOr<LogProof>(const LogQuestion& question)>;

  void Send(const Reply&) override {}
  absl::StatusOr<std::vector<float>> FetchAdapter(WantedAdapter wanted, std::stop_token,
                                                  const TransferObserver&) override {
    ++fetches;
    return std::vector<float>(static_cast<size_t>(wanted.value_count));
  }
  absl::Status Submit(std::shared_ptr<const Contribution>, std::stop_token) override {
    return absl::OkStatus();
  }
  absl::Status SubmitMasked(std::shared_ptr<const MaskedContribution>, std::stop_token) override {
    return absl::OkStatus();
  }
  absl::StatusOr<LogProof> ProveLog(const LogQuestion& question, std::stop_token stop) override {
    if (stop.stop_requested()) return absl::CancelledError("stopped");
    return answer(question);
  }

  Answer answer;
  int fetches = 0;
};

}  // namespace fedtune::testing
