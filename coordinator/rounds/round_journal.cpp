// SPDX-License-Identifier: Apache-2.0

#include "coordinator/rounds/round_journal.h"

#include <algorithm>
#include <bit>
#include <optional>
#include <type_traits>
#include <utility>

#include "aggregation/round_counters.h"
#include "base/check.h"
#include "base/overloaded.h"
#include "privacy/crypto/canonical_bytes.h"

namespace fedtune {
namespace {

constexpr uint8_t kVersion = 3;
// The version before: nothing was known of rosters, of what clients had agreed on and of
// what lies in the spool.
constexpr uint8_t kSecondVersion = 2;
constexpr uint8_t kFirstVersion = 1;  // Nor had members any work.
constexpr size_t kMaxText = 4096;
constexpr size_t kMaxMessage = size_t{64} << 20;  // gRPC's limit is below it.
constexpr uint32_t kMaxMembers = 1'000'000;
constexpr size_t kMemberSize = 20;  // At least.
constexpr uint32_t kMaxBlocks = uint32_t{1} << 24;

enum class Kind : uint8_t {
  kAttemptOpened = 1,
  kConnected,
  kDisconnected,
  kAccepted,
  kDeclined,
  kContributed,
  kFailed,
  kSecureMessage,
  kReleaseFailed,
  kStopRequested,
  kTimeIsUp,
  kNewProcess,
  kContributionsLost
};

void Put(CanonicalWriter& out, Kind kind) { out.U8(static_cast<uint8_t>(kind)); }
void Put(CanonicalWriter& out, int64_t value) { out.U64(static_cast<uint64_t>(value)); }
void Put(CanonicalWriter& out, double value) { out.U64(std::bit_cast<uint64_t>(value)); }
void Put(CanonicalWriter& out, const Institution& name) { out.Sized(name.value); }

int64_t GetInt(CanonicalReader& in) { return static_cast<int64_t>(in.U64()); }
double GetDouble(CanonicalReader& in) { return std::bit_cast<double>(in.U64()); }
std::string GetText(CanonicalReader& in) {
  const Bytes text = in.Sized(kMaxText);
  return {text.begin(), text.end()};
}

void Put(CanonicalWriter& out, const std::optional<EvaluationResult>& result) {
  out.U8(result.has_value() ? 1 : 0);
  if (!result.has_value()) return;
  Put(out, result->loss);
  out.U8(result->accuracy.has_value() ? 1 : 0);
  Put(out, result->accuracy.value_or(0));
  Put(out, result->example_count);
}

std::optional<EvaluationResult> GetEvaluation(CanonicalReader& in) {
  if (in.U8() == 0) return std::nullopt;
  EvaluationResult result;
  result.loss = GetDouble(in);
  const bool has_accuracy = in.U8() != 0;
  const double accuracy = GetDouble(in);
  if (has_accuracy) result.accuracy = accuracy;
  result.example_count = GetInt(in);
  return result;
}

void Put(CanonicalWriter& out, const std::vector<int64_t>& numbers) {
  out.U32(static_cast<uint32_t>(numbers.size()));
  for (const int64_t number : numbers) Put(out, number);
}

std::vector<int64_t> GetInts(CanonicalReader& in, int64_t most) {
  std::vector<int64_t> numbers(in.Count(static_cast<uint32_t>(most), sizeof(int64_t)));
  for (int64_t& number : numbers) number = GetInt(in);
  return numbers;
}

void Put(CanonicalWriter& out, const ClientMetrics& metrics) {
  Put(out, metrics.training_loss);
  Put(out, metrics.steps);
  Put(out, metrics.token_count);
  Put(out, metrics.routed_tokens);
  Put(out, metrics.training_seconds);
  Put(out, metrics.before);
  Put(out, metrics.after);
}

ClientMetrics GetMetrics(CanonicalReader& in) {
  ClientMetrics metrics;
  metrics.training_loss = GetDouble(in);
  metrics.steps = GetInt(in);
  metrics.token_count = GetInt(in);
  metrics.routed_tokens = GetInts(in, kMostRoutedExperts);
  metrics.training_seconds = GetDouble(in);
  metrics.before = GetEvaluation(in);
  metrics.after = GetEvaluation(in);
  return metrics;
}

void Put(CanonicalWriter& out, const ContributionHeader& header) {
  Put(out, header.round);
  Put(out, header.attempt);
  out.Fixed(header.adapter).Fixed(header.layout).U32(header.factors).U64(header.size_bytes);
  out.Fixed(header.sha256);
  Put(out, header.metrics);
  out.Sized(header.input_manifest);
}

ContributionHeader GetHeader(CanonicalReader& in) {
  ContributionHeader header;
  header.round = GetInt(in);
  header.attempt = GetInt(in);
  header.adapter = in.ReadDigest();
  header.layout = in.ReadDigest();
  header.factors = in.U32();
  header.size_bytes = in.U64();
  header.sha256 = in.ReadDigest();
  header.metrics = GetMetrics(in);
  header.input_manifest = in.Sized(kMaxMessage);
  return header;
}

void Put(CanonicalWriter& out, const std::optional<SpooledContent>& content) {
  out.U8(content.has_value() ? 1 : 0);
  if (!content.has_value()) return;
  Put(out, content->range.count());
  out.U32(std::bit_cast<uint32_t>(content->range.extreme()));
  Put(out, content->range.extreme_index());
  out.U32(static_cast<uint32_t>(content->sums.size()));
  for (const uint64_t sum : content->sums) out.U64(sum);
}

std::optional<SpooledContent> GetContent(CanonicalReader& in) {
  if (in.U8() == 0) return std::nullopt;
  const int64_t count = GetInt(in);
  const auto extreme = std::bit_cast<float>(in.U32());
  const int64_t extreme_index = GetInt(in);
  SpooledContent content{.range = {count, extreme, extreme_index}, .sums = {}};
  content.sums.resize(in.Count(kMaxBlocks, sizeof(uint64_t)));
  for (uint64_t& sum : content.sums) sum = in.U64();
  return content;
}

// ---- What clients do ----

void PutEvent(CanonicalWriter& out, const Institution& from, const ClientEvent& event) {
  const auto begin = [&](Kind kind) {
    Put(out, kind);
    Put(out, from);
  };
  std::visit(Overloaded{[&](const ClientConnected&) { begin(Kind::kConnected); },
                        [&](const ClientDisconnected&) { begin(Kind::kDisconnected); },
                        [&](const RunAccepted& e) {
                          begin(Kind::kAccepted);
                          Put(out, e.example_count);
                        },
                        [&](const RunDeclined& e) {
                          begin(Kind::kDeclined);
                          out.Sized(e.reason.substr(0, kMaxText));
                        },
                        [&](const ProgressReported&) { Check(false, "progress in a journal"); },
                        [&](const ContributionTaken& e) {
                          begin(Kind::kContributed);
                          Put(out, e.header);
                        },
                        [&](const ClientFailed& e) {
                          begin(Kind::kFailed);
                          Put(out, e.round);
                          Put(out, e.attempt);
                          out.Sized(e.reason.substr(0, kMaxText));
                          Put(out, e.agreed_rounds);
                        },
                        [&](const SecureMessageReceived& e) {
                          begin(Kind::kSecureMessage);
                          Put(out, e.round);
                          Put(out, e.attempt);
                          out.Sized(e.message);
                        }},
             event);
}

ClientEvent GetClientEvent(uint8_t version, Kind kind, CanonicalReader& in) {
  switch (kind) {
    case Kind::kConnected:
      return ClientConnected{};
    case Kind::kDisconnected:
      return ClientDisconnected{};
    case Kind::kAccepted:
      return RunAccepted{.example_count = GetInt(in)};
    case Kind::kDeclined:
      return RunDeclined{.reason = GetText(in)};
    case Kind::kContributed:
      return ContributionTaken{.header = GetHeader(in)};
    case Kind::kFailed: {
      ClientFailed failed;
      failed.round = GetInt(in);
      failed.attempt = GetInt(in);
      failed.reason = GetText(in);
      if (version > kSecondVersion) failed.agreed_rounds = GetInt(in);
      return failed;
    }
    default: {
      SecureMessageReceived received;
      received.round = GetInt(in);
      received.attempt = GetInt(in);
      received.message = in.Sized(kMaxMessage);
      return received;
    }
  }
}

// ---- The others ----

void Put(CanonicalWriter& out, const AttemptOpened::Member& member) {
  Put(out, member.institution);
  out.U8(member.connected ? 1 : 0).U8(member.accepted ? 1 : 0).U8(member.declined ? 1 : 0);
  out.Sized(member.reason.substr(0, kMaxText));
  Put(out, member.example_count);
  out.U8(member.in_cohort ? 1 : 0);
  out.U8(member.work.has_value() ? 1 : 0);
  if (!member.work.has_value()) return;
  Put(out, member.work->round);
  Put(out, member.work->attempt);
  out.Fixed(member.work->adapter);
  out.U8(member.work->evaluate ? 1 : 0);
}

OpenWork GetWork(CanonicalReader& in) {
  OpenWork work;
  work.round = GetInt(in);
  work.attempt = GetInt(in);
  work.adapter = in.ReadDigest();
  work.evaluate = in.U8() != 0;
  return work;
}

AttemptOpened::Member GetMember(uint8_t version, CanonicalReader& in) {
  AttemptOpened::Member member{.institution = {GetText(in)}};
  member.connected = in.U8() != 0;
  member.accepted = in.U8() != 0;
  member.declined = in.U8() != 0;
  member.reason = GetText(in);
  member.example_count = GetInt(in);
  member.in_cohort = in.U8() != 0;
  if (version != kFirstVersion && in.U8() != 0) member.work = GetWork(in);
  return member;
}

void PutWhat(CanonicalWriter& out, const AttemptOpened& opened) {
  Put(out, Kind::kAttemptOpened);
  Put(out, opened.round);
  Put(out, opened.attempt);
  Put(out, opened.tries);
  Put(out, opened.burnt_in_a_row);
  Put(out, absl::ToUnixMillis(opened.at));
  out.U32(static_cast<uint32_t>(opened.members.size()));
  for (const AttemptOpened::Member& member : opened.members) Put(out, member);
  out.U8(opened.roster.has_value() ? 1 : 0);
  if (opened.roster.has_value()) out.Fixed(*opened.roster);
}

AttemptOpened GetAttemptOpened(uint8_t version, CanonicalReader& in) {
  AttemptOpened opened;
  opened.round = GetInt(in);
  opened.attempt = GetInt(in);
  opened.tries = GetInt(in);
  opened.burnt_in_a_row = GetInt(in);
  opened.at = absl::FromUnixMillis(GetInt(in));
  const uint32_t count = in.Count(kMaxMembers, kMemberSize);
  for (uint32_t i = 0; i < count; ++i) opened.members.push_back(GetMember(version, in));
  if (version > kSecondVersion && in.U8() != 0) opened.roster = in.ReadDigest();
  return opened;
}

void PutWhat(CanonicalWriter& out, const ReceivedFromClient& received) {
  PutEvent(out, received.from, received.event);
}

void PutWhat(CanonicalWriter& out, const TimeIsUp&) { Put(out, Kind::kTimeIsUp); }
void PutWhat(CanonicalWriter& out, const NewProcess&) { Put(out, Kind::kNewProcess); }

void PutWhat(CanonicalWriter& out, const RunEvent& event) {
  std::visit(Overloaded{[](const Released&) { Check(false, "a release ends a journal"); },
                        [](const PauseRequested&) { Check(false, "a pause is the run's"); },
                        [](const ResumeRequested&) { Check(false, "a pause is the run's"); },
                        [&](const ReleaseFailed& e) {
                          Put(out, Kind::kReleaseFailed);
                          out.Sized(e.reason.substr(0, kMaxText));
                        },
                        [&](const ContributionsLost& e) {
                          Put(out, Kind::kContributionsLost);
                          out.U32(static_cast<uint32_t>(e.from.size()));
                          for (const Institution& from : e.from) Put(out, from);
                        },
                        [&](const StopRequested& e) {
                          Put(out, Kind::kStopRequested);
                          out.Sized(e.reason.substr(0, kMaxText));
                        }},
             event);
}

ContributionsLost GetContributionsLost(CanonicalReader& in) {
  ContributionsLost lost;
  const uint32_t count = in.Count(kMaxMembers, sizeof(uint32_t));
  for (uint32_t i = 0; i < count; ++i) lost.from.push_back({GetText(in)});
  return lost;
}

decltype(JournalEntry::what) GetWhat(uint8_t version, Kind kind, CanonicalReader& in) {
  switch (kind) {
    case Kind::kAttemptOpened:
      return GetAttemptOpened(version, in);
    case Kind::kReleaseFailed:
      return RunEvent(ReleaseFailed{.reason = GetText(in)});
    case Kind::kContributionsLost:
      return RunEvent(GetContributionsLost(in));
    case Kind::kStopRequested:
      return RunEvent(StopRequested{.reason = GetText(in)});
    case Kind::kTimeIsUp:
      return TimeIsUp{};
    case Kind::kNewProcess:
      return NewProcess{};
    default: {
      Institution from{GetText(in)};
      return ReceivedFromClient{std::move(from), GetClientEvent(version, kind, in)};
    }
  }
}

}  // namespace

bool IsJournalled(const ClientEvent& event) {
  return !std::holds_alternative<ProgressReported>(event);
}

std::string ToBytes(const JournalEntry& entry) {
  CanonicalWriter out;
  out.U8(kVersion).U64(entry.number);
  Put(out, absl::ToInt64Nanoseconds(entry.at));
  out.Sized(entry.spool_file);
  Put(out, entry.content);
  std::visit([&](const auto& what) { PutWhat(out, what); }, entry.what);
  out.Fixed(Sha256Of(ByteSpan(out.bytes())));
  return {out.bytes().begin(), out.bytes().end()};
}

absl::StatusOr<JournalEntry> JournalEntryFromBytes(std::string_view bytes) {
  constexpr size_t kDigestSize = sizeof(Digest::bytes);
  if (bytes.size() < kDigestSize) return absl::DataLossError("a journal entry is cut short");
  const ByteSpan body = SpanOf(bytes.substr(0, bytes.size() - kDigestSize));
  const ByteSpan digest = SpanOf(bytes.substr(body.size()));
  if (!std::ranges::equal(Sha256Of(body).bytes, digest)) {
    return absl::DataLossError("a journal entry is damaged");
  }
  CanonicalReader in(body);
  const uint8_t version = in.U8();
  if (version < kFirstVersion || version > kVersion) {
    return absl::DataLossError("a journal entry is of another version");
  }
  JournalEntry entry;
  entry.number = in.U64();
  entry.at = absl::Nanoseconds(GetInt(in));
  entry.spool_file = GetText(in);
  if (version > kSecondVersion) entry.content = GetContent(in);
  const uint8_t kind = in.U8();
  if (kind < static_cast<uint8_t>(Kind::kAttemptOpened) ||
      kind > static_cast<uint8_t>(Kind::kContributionsLost)) {
    return absl::DataLossError("a journal entry is of no known kind");
  }
  entry.what = GetWhat(version, static_cast<Kind>(kind), in);
  const absl::Status read = in.Finish("a journal entry");
  if (!read.ok()) return absl::DataLossError(read.message());
  if (entry.at < absl::ZeroDuration()) {
    return absl::DataLossError("a journal entry is from before its attempt");
  }
  return entry;
}

}  // namespace fedtune
