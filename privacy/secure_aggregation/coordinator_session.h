// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "privacy/crypto/canonical_bytes.h"
#include "privacy/crypto/sha256.h"
#include "privacy/secure_aggregation/mask_stream.h"
#include "privacy/secure_aggregation/messages.h"
#include "privacy/secure_aggregation/session_parameters.h"

namespace fedtune {

// The coordinator's side of one secure aggregation (FSA-1, see ClientSession):
//
//   kAdvertising -> kSharing -> kCollecting -> kAgreeing -> kUnmasking -> kDone
//     or from any phase -> kFailed
//
// The caller passes the clients' messages on, calls Advance() after each of them
// and when a phase's time is up, and sends MessageFor() to those it awaits. The
// masked vectors do not come here: the caller adds them up modulo the ring, and
// at the end takes Masks() off the sum.
//
// From kCollecting's end on, the survivors must not change. So the caller stores
// what it passes on, before it sends what follows from it: the same messages, drops
// and calls of Advance() lead another process's session to the same state.
//
// Pure protocol: no thread, clock, socket, file or randomness. Not thread-safe.
class CoordinatorSession {
 public:
  enum class Phase : uint8_t {
    kAdvertising,
    kSharing,
    kCollecting,
    kAgreeing,
    kUnmasking,
    kDone,
    kFailed
  };

  struct Options {
    SessionParameters parameters;
    std::map<uint32_t, Bytes> signing_keys;  // Of the signing roster, by number.
    std::vector<uint32_t> cohort;            // Who may take part, by number.
    Digest model;                            // What everyone was to train from.
  };

  // Something that a client did wrong: who, and what, for the log.
  struct Fault {
    uint32_t number = 0;
    std::string what;
  };

  // INVALID_ARGUMENT: the parameters are out of range. FAILED_PRECONDITION: the
  // cohort is too small, or somebody in it is not on the roster.
  static absl::StatusOr<CoordinatorSession> Create(Options options);

  // Takes a client's message. The same one again changes nothing and is OK.
  //
  // PERMISSION_DENIED: the client is not, or no longer, part of the session.
  // FAILED_PRECONDITION: the message does not belong to the current phase.
  // ALREADY_EXISTS: it has answered otherwise. INVALID_ARGUMENT: the message is
  // malformed or false; the client is dropped and faults() names it.
  absl::Status Receive(uint32_t from, ByteSpan message);

  // Whether Receive() would change anything.
  bool Hears(uint32_t from, ByteSpan message) const;

  // Whether it takes part and was not dropped.
  bool Includes(uint32_t number) const;

  // What Receive() would say of an input's manifest, and the Merkle root that its
  // chunks must have. Ask before keeping the input, and call Receive() when it
  // is kept. ALREADY_EXISTS: an input of this client is kept already.
  absl::StatusOr<Digest> CheckInput(uint32_t from, ByteSpan message) const;

  // The client cannot go on, or did something wrong outside of this protocol:
  // nothing more is expected of it. It stays in what it has agreed to.
  void Drop(uint32_t number);

  // Moves on if everyone, or enough, have answered; when `time_is_up` with those
  // that have, or fails without enough of them. Whether the phase has changed.
  bool Advance(bool time_is_up);

  Phase phase() const { return phase_; }
  // Why it failed, for people.
  const std::string& failure() const { return failure_; }
  const std::vector<Fault>& faults() const { return faults_; }

  // What this client is to answer now; empty if nothing is asked of it.
  Bytes MessageFor(uint32_t number) const;

  // Of whom an answer is still awaited, by number.
  std::vector<uint32_t> Awaited() const;

  bool IsAwaited(uint32_t number) const;

  // Of those that advertised, who has been dropped or has fallen silent, and so is why the
  // session failed, by number; not who lied about shares. Requires: kFailed.
  std::vector<uint32_t> AtFault() const;

  // Whose input is in the sum. Requires: kCollecting is over.
  std::vector<uint32_t> Survivors() const;

  // All that is to be added to the sum to take the masks off. Requires: kDone.
  const MaskStreams& Masks() const { return *masks_; }
  MaskStreams TakeMasks() && { return *std::move(masks_); }

  int64_t element_count() const { return options_.parameters.element_count; }

  const Digest& id() const { return id_; }

 private:
  struct Member {
    uint32_t number = 0;
    bool dropped = false;
    std::map<MessageKind, Digest> answered;
    std::optional<Advertisement> advertisement = std::nullopt;
    std::optional<Shares> shares = std::nullopt;
    std::optional<InputManifest> manifest = std::nullopt;
    std::optional<Agreement> agreement = std::nullopt;
    std::optional<UnmaskShares> unmask = std::nullopt;
  };

  explicit CoordinatorSession(Options options);

  // Whether the message is an answer, and not one that has come before. Errors: Receive()'s.
  absl::StatusOr<bool> IsAnswer(uint32_t from, MessageKind kind, const Digest& message) const;
  bool Expects(MessageKind kind) const;
  absl::Status Accept(Member& member, MessageKind kind, ByteSpan message);
  absl::Status Accept(Member& member, Advertisement message);
  absl::Status Accept(Member& member, Shares message);
  absl::Status Accept(Member& member, InputManifest message);
  absl::Status Accept(Member& member, Agreement message);
  absl::Status Accept(Member& member, UnmaskShares message);
  absl::Status CheckManifest(const Member& member, const InputManifest& message) const;
  absl::Status CheckSignature(const Member& member, ByteSpan statement, ByteSpan signature) const;
  absl::Status CheckKeysWork(const Advertisement& message) const;

  void Blame(uint32_t number, std::string what);
  void LeaveOutOtherFederationKeys();
  void CloseAdvertising();
  void CloseSharing();
  void CloseCollecting();
  void CloseAgreeing(bool no_more_come);
  void CloseUnmasking(bool no_more_come);
  absl::Status Unmask();
  void Fail(std::string why);
  bool Awaits(const Member& member) const;
  bool EnoughEverywhere(const std::set<int>& answered) const;
  std::set<int> Answered(MessageKind kind) const;
  std::string MissingAnswers() const;

  Bytes DirectoryFor(int place) const;
  Bytes SharesFor(int place) const;
  Bytes Proof(int place) const;
  int PlaceOf(uint32_t number) const;  // -1: it is not among the clients.

  Options options_;
  Digest id_;
  Phase phase_ = Phase::kAdvertising;
  std::string failure_;
  Phase failed_in_ = Phase::kAdvertising;
  std::vector<Fault> faults_;

  std::map<uint32_t, Member> members_;       // The cohort.
  std::vector<uint32_t> clients_;            // Those that advertised; a place is an index here.
  std::vector<std::vector<Digest>> proofs_;  // Of the places; none in a complete graph.
  Digest root_;
  std::optional<CohortShape> shape_;
  PlaceSet sharers_;
  Digest sharers_hash_;
  PlaceSet survivors_;
  Digest survivors_hash_;
  size_t answers_in_vain_ = 0;  // So many clients' shares could not take the masks off.
  std::optional<MaskStreams> masks_;
};

}  // namespace fedtune
