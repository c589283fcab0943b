// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "base/check.h"
#include "privacy/crypto/merkle_tree.h"
#include "privacy/crypto/signing_key.h"
#include "privacy/secure_aggregation/client_session.h"
#include "privacy/secure_aggregation/coordinator_session.h"

namespace fedtune::testing {

// What a secure aggregation in one process is made of. Clients have the numbers
// 1, 2, ...; client n's input is drawn from n.
struct SecureRoundOptions {
  int clients = 4;
  int64_t elements = 21;
  RingBits ring = RingBits::k32;
  CipherSuite suite = CipherSuite::kCurve25519;
  int min_cohort = 3;
  int assumed_corrupt = 0;
  bool federation_key = false;
};

inline SecretBytes SecretOf(uint32_t number) {
  Bytes bytes(32, static_cast<uint8_t>(number));
  bytes[0] = static_cast<uint8_t>(number >> 8);
  return SecretBytes(std::move(bytes));
}

// One long-lived key per institution, made once: keys are slow.
inline std::shared_ptr<const SigningKey> SigningKeyOf(CipherSuite suite, uint32_t number) {
  static auto& keys = *new std::map<std::pair<CipherSuite, uint32_t>, std::shared_ptr<SigningKey>>;
  auto& key = keys[{suite, number}];
  if (key == nullptr) key = std::make_shared<SigningKey>(SigningKey::Generate(suite));
  return key;
}

// The parties of one session, and the vector between them.
class SecureRound {
 public:
  explicit SecureRound(const SecureRoundOptions& options) : options_(options) {
    parameters_ = {.federation = "north",
                   .run = "run-1",
                   .round = 7,
                   .attempt = 1,
                   .suite = options.suite,
                   .ring = options.ring,
                   .element_count = options.elements,
                   .plan = Sha256Of("plan"),
                   .roster = Sha256Of("roster"),
                   .min_cohort = options.min_cohort,
                   .assumed_corrupt = options.assumed_corrupt};
    for (uint32_t number = 1; number <= static_cast<uint32_t>(options.clients); ++number) {
      signing_keys_[number] = SigningKeyOf(options.suite, number)->public_key();
    }
  }

  const SessionParameters& parameters() const { return parameters_; }
  SessionParameters& parameters() { return parameters_; }

  ClientSession::Options ClientOptions(uint32_t number) const {
    ClientSession::Options options{
        .parameters = parameters_,
        .floor = {.min_cohort = options_.min_cohort, .assumed_corrupt = options_.assumed_corrupt},
        .number = number,
        .key = SigningKeyOf(options_.suite, number),
        .signing_keys = signing_keys_,
        .model = Sha256Of("model"),
        .round_secret = SecretOf(number)};
    if (options_.federation_key) options.federation_key = SecretOf(0xfe);
    return options;
  }

  CoordinatorSession::Options CoordinatorOptions() const {
    CoordinatorSession::Options options{.parameters = parameters_,
                                        .signing_keys = signing_keys_,
                                        .cohort = {},
                                        .model = Sha256Of("model")};
    for (const auto& [number, key] : signing_keys_) options.cohort.push_back(number);
    return options;
  }

  ClientSession Client(uint32_t number) const {
    absl::StatusOr<ClientSession> session = ClientSession::Create(ClientOptions(number));
    Check(session.ok(), session.status().ToString());
    return *std::move(session);
  }

  CoordinatorSession Coordinator() const {
    absl::StatusOr<CoordinatorSession> session = CoordinatorSession::Create(CoordinatorOptions());
    Check(session.ok(), session.status().ToString());
    return *std::move(session);
  }

  uint32_t RingMask() const {
    return options_.ring == RingBits::k32 ? UINT32_MAX
                                          : (1u << static_cast<int>(options_.ring)) - 1;
  }

  std::vector<uint32_t> Input(uint32_t number) const {
    std::mt19937 random(number);
    std::vector<uint32_t> values(static_cast<size_t>(options_.elements));
    for (uint32_t& value : values) value = static_cast<uint32_t>(random()) & RingMask();
    return values;
  }

  std::vector<uint32_t> PlainSum(const std::vector<uint32_t>& numbers) const {
    std::vector<uint32_t> sum(static_cast<size_t>(options_.elements));
    for (const uint32_t number : numbers) Add(Input(number), sum);
    return sum;
  }

  void Add(const std::vector<uint32_t>& values, std::vector<uint32_t>& sum) const {
    for (size_t i = 0; i < sum.size(); ++i) sum[i] = (sum[i] + values[i]) & RingMask();
  }

 private:
  SecureRoundOptions options_;
  SessionParameters parameters_;
  std::map<uint32_t, Bytes> signing_keys_;
};

// A client together with what it keeps on its disk; may be killed and started
// again at any moment.
class SecureClient {
 public:
  SecureClient(const SecureRound& round, uint32_t number)
      : round_(&round), number_(number), session_(round.Client(number)) {}

  uint32_t number() const { return number_; }
  ClientSession& session() { return session_; }
  const std::vector<Bytes>& records() const { return records_; }
  bool has_sent(MessageKind kind) const { return sent_.contains(kind); }
  size_t bytes_sent() const {
    size_t size = 0;
    for (const auto& [kind, message] : sent_) size += message.size();
    return size;
  }

  // Its process ends and another one takes up the records.
  absl::Status Restart() {
    absl::StatusOr<ClientSession> session =
        ClientSession::Resume(round_->ClientOptions(number_), records_);
    if (!session.ok()) return session.status();
    session_ = *std::move(session);
    return absl::OkStatus();
  }

  absl::StatusOr<Bytes> Advertise() { return Keep(session_.Advertise()); }
  absl::StatusOr<Bytes> Receive(ByteSpan message) { return Keep(session_.Receive(message)); }

  // The masked vector and its manifest, once the others' shares have come.
  struct Input {
    std::vector<uint32_t> masked;
    Bytes manifest;
  };
  absl::StatusOr<Input> MaskedInput() {
    Input input{round_->Input(number_), {}};
    absl::StatusOr<Bytes> fixed = Keep(session_.FixInput(DigestOf(input.masked)));
    if (!fixed.ok()) return fixed.status();
    const absl::StatusOr<MaskStreams> masks = session_.Masks();
    if (!masks.ok()) return masks.status();
    masks->Apply(0, input.masked);
    absl::StatusOr<Bytes> manifest = Keep(session_.SignInput(DigestOf(input.masked)));
    if (!manifest.ok()) return manifest.status();
    input.manifest = *std::move(manifest);
    return input;
  }

  static Digest DigestOf(const std::vector<uint32_t>& values) {
    return Sha256Of(std::as_bytes(std::span(values)));
  }

 private:
  absl::StatusOr<Bytes> Keep(absl::StatusOr<ClientSession::Step> step) {
    if (!step.ok()) return step.status();
    if (!step->record.empty()) records_.push_back(step->record);
    if (!step->message.empty()) sent_[static_cast<MessageKind>(step->message[0])] = step->message;
    return std::move(step->message);
  }

  const SecureRound* round_;
  uint32_t number_;
  ClientSession session_;
  std::vector<Bytes> records_;
  std::map<MessageKind, Bytes> sent_;
};

// An honest coordinator and its clients, played to the end. A client goes silent
// before the message at which it drops, for good.
class PlayedRound {
 public:
  explicit PlayedRound(const SecureRound& round)
      : round_(&round),
        coordinator_(round.Coordinator()),
        sum_(static_cast<size_t>(round.parameters().element_count)) {
    for (const uint32_t number : round.CoordinatorOptions().cohort) {
      clients_.emplace(number, SecureClient(round, number));
    }
  }

  void DropBefore(uint32_t number, MessageKind kind) { drops_[number] = kind; }

  // What this client says instead of its answer to a request, which is empty when
  // it advertises. An empty answer is none.
  using Lie = std::function<Bytes(const Bytes& request, Bytes answer)>;
  void Lies(uint32_t number, Lie lie) { lies_[number] = std::move(lie); }

  SecureClient& client(uint32_t number) { return clients_.at(number); }
  CoordinatorSession& coordinator() { return coordinator_; }

  // Until it is done or has failed.
  void Play() { PlayUntil(CoordinatorSession::Phase::kDone); }

  // Until this phase has begun, or a later one.
  void PlayUntil(CoordinatorSession::Phase end) {
    while (coordinator_.phase() < end) {
      PlayPhase();
      if (!coordinator_.Advance(false)) coordinator_.Advance(true);
    }
  }

  // One phase's messages; whether the phase ends is the caller's.
  void PlayPhase() {
    if (coordinator_.phase() == CoordinatorSession::Phase::kAdvertising) return Advertise();
    for (const uint32_t number : coordinator_.Awaited()) {
      const Bytes message = coordinator_.MessageFor(number);
      if (!message.empty()) Ask(number, message);
    }
  }

  // The unmasked sum. Requires: the coordinator is done.
  std::vector<uint32_t> Sum() const {
    std::vector<uint32_t> sum = sum_;
    coordinator_.Masks().Apply(0, sum);
    return sum;
  }
  const std::vector<uint32_t>& MaskedSum() const { return sum_; }

  // Passes an answer to the coordinator.
  void Deliver(uint32_t number, const absl::StatusOr<Bytes>& answer) {
    if (answer.ok() && !answer->empty()) {
      (void)coordinator_.Receive(number, *answer);
    } else if (!answer.ok()) {
      coordinator_.Drop(number);
    }
  }

 private:
  bool Drops(uint32_t number, MessageKind kind) const {
    const auto found = drops_.find(number);
    return found != drops_.end() && found->second <= kind;
  }

  void Advertise() {
    for (auto& [number, client] : clients_) {
      if (Drops(number, MessageKind::kAdvertisement)) continue;
      Deliver(number, Told(number, {}, client.Advertise()));
    }
  }

  absl::StatusOr<Bytes> Told(uint32_t number, const Bytes& request,
                             absl::StatusOr<Bytes> answer) const {
    const auto found = lies_.find(number);
    if (found == lies_.end() || !answer.ok()) return answer;
    return found->second(request, *std::move(answer));
  }

  void Ask(uint32_t number, const Bytes& message) {
    const auto kind = static_cast<MessageKind>(message[0]);
    if (Drops(number, static_cast<MessageKind>(message[0] + 1))) return;
    SecureClient& client = clients_.at(number);
    absl::StatusOr<Bytes> answer = client.Receive(message);
    if (kind == MessageKind::kSharesForYou && answer.ok()) {
      absl::StatusOr<SecureClient::Input> input = client.MaskedInput();
      if (!input.ok()) return Deliver(number, input.status());
      answer = Told(number, message, std::move(input->manifest));
      if (coordinator_.CheckInput(number, *answer).ok()) round_->Add(input->masked, sum_);
    } else {
      answer = Told(number, message, std::move(answer));
    }
    Deliver(number, answer);
  }

  const SecureRound* round_;
  CoordinatorSession coordinator_;
  std::map<uint32_t, SecureClient> clients_;
  std::map<uint32_t, MessageKind> drops_;
  std::map<uint32_t, Lie> lies_;
  std::vector<uint32_t> sum_;
};

}  // namespace fedtune::testing
