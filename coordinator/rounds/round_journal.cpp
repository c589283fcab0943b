// SPDX-License-Identifier: Apache-2.0

#include "coordinator/rounds/round_journal.h"

#include <algorithm>
#include <map>
#include <optional>
#include <type_traits>
#include <utility>

#include "base/check.h"
#include "base/overloaded.h"
#include "coordinator/rounds/journal_bytes.h"
#include "privacy/crypto/canonical_bytes.h"

namespace fedtune {
namespace {

// With clients that refuse the coordinator's log. Other entries are of a version before, which
// an older program reads, too.
constexpr uint8_t kVersion = 6;
// Between two rounds, with work that is late or a number of rounds that have burnt.
constexpr uint8_t kFifthVersion = 5;
// With members that are to blame, or of a kind that is new in it.
constexpr uint8_t kFourthVersion = 4;
constexpr uint8_t kThirdVersion = 3;
// The version before: nothing was known of rosters, of what clients had agreed on and of
// what lies in the spool.
constexpr uint8_t kSecondVersion = 2;
constexpr uint8_t kFirstVersion = 1;  // Nor had members any work.
constexpr uint32_t kMaxMembers = 1'000'000;
constexpr size_t kMemberSize = 20;  // At least.

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
  kContributionsLost,
  kBetweenRounds,
  kImpossibleSum,
  kLogRefused
};

void Put(CanonicalWriter& out, Kind kind) { out.U8(static_cast<uint8_t>(kind)); }
void Put(CanonicalWriter& out, const Institution& name) { out.Sized(name.value); }

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
                          begin(e.refuses_log ? Kind::kLogRefused : Kind::kDeclined);
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
    case Kind::kLogRefused:
      return RunDeclined{.reason = GetText(in), .refuses_log = kind == Kind::kLogRefused};
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

bool HasBlame(const AttemptOpened& opened) {
  return std::any_of(opened.members.begin(), opened.members.end(),
                     [](const auto& member) { return member.blame.has_value(); });
}

bool HasRefusal(const AttemptOpened& opened) {
  return std::any_of(opened.members.begin(), opened.members.end(),
                     [](const auto& member) { return member.refuses_log; });
}

bool IsRefusal(const JournalEntry& entry) {
  const auto* received = std::get_if<ReceivedFromClient>(&entry.what);
  const auto* declined = received != nullptr ? std::get_if<RunDeclined>(&received->event) : nullptr;
  return declined != nullptr && declined->refuses_log;
}

bool IsImpossibleSum(const JournalEntry& entry) {
  const auto* event = std::get_if<RunEvent>(&entry.what);
  const auto* failed = event != nullptr ? std::get_if<ReleaseFailed>(event) : nullptr;
  return failed != nullptr && failed->is_impossible_sum;
}

bool SaysMoreThanBlame(const BetweenRounds& between) {
  return !between.work.empty() || between.burnt_in_a_row.has_value();
}

uint8_t VersionOf(const JournalEntry& entry) {
  if (const auto* between = std::get_if<BetweenRounds>(&entry.what)) {
    return SaysMoreThanBlame(*between) ? kFifthVersion : kFourthVersion;
  }
  const auto* opened = std::get_if<AttemptOpened>(&entry.what);
  if ((opened != nullptr && HasRefusal(*opened)) || IsRefusal(entry)) return kVersion;
  const bool is_new = (opened != nullptr && HasBlame(*opened)) || IsImpossibleSum(entry);
  return is_new ? kFourthVersion : kThirdVersion;
}

void Put(CanonicalWriter& out, const std::optional<Blame>& blame) {
  out.U8(blame.has_value() ? 1 : 0);
  if (blame.has_value()) Put(out, *blame);
}

void Put(CanonicalWriter& out, const AttemptOpened::Member& member) {
  Put(out, member.institution);
  out.U8(member.connected ? 1 : 0).U8(member.accepted ? 1 : 0).U8(member.declined ? 1 : 0);
  out.Sized(member.reason.substr(0, kMaxText));
  Put(out, member.example_count);
  out.U8(member.in_cohort ? 1 : 0);
  out.U8(member.work.has_value() ? 1 : 0);
  if (member.work.has_value()) Put(out, *member.work);
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
  const bool has_refusal = HasRefusal(opened);
  if (!HasBlame(opened) && !has_refusal) return;
  for (const AttemptOpened::Member& member : opened.members) Put(out, member.blame);
  if (!has_refusal) return;
  for (const AttemptOpened::Member& member : opened.members) out.U8(member.refuses_log ? 1 : 0);
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
  if (version <= kThirdVersion) return opened;
  for (AttemptOpened::Member& member : opened.members) {
    if (in.U8() != 0) member.blame = GetBlame(in);
  }
  if (version <= kFifthVersion) return opened;
  for (AttemptOpened::Member& member : opened.members) member.refuses_log = in.U8() != 0;
  return opened;
}

void PutWhat(CanonicalWriter& out, const ReceivedFromClient& received) {
  PutEvent(out, received.from, received.event);
}

void PutWhat(CanonicalWriter& out, const TimeIsUp&) { Put(out, Kind::kTimeIsUp); }
void PutWhat(CanonicalWriter& out, const NewProcess&) { Put(out, Kind::kNewProcess); }

void PutWhat(CanonicalWriter& out, const BetweenRounds& between) {
  Put(out, Kind::kBetweenRounds);
  out.U32(static_cast<uint32_t>(between.blamed.size()));
  for (const auto& [institution, blame] : between.blamed) {
    Put(out, institution);
    Put(out, blame);
  }
  if (!SaysMoreThanBlame(between)) return;
  out.U32(static_cast<uint32_t>(between.work.size()));
  for (const auto& [institution, work] : between.work) {
    Put(out, institution);
    Put(out, work);
  }
  out.U8(between.burnt_in_a_row.has_value() ? 1 : 0);
  if (between.burnt_in_a_row.has_value()) Put(out, *between.burnt_in_a_row);
}

template <typename T>
std::map<Institution, T> GetByName(CanonicalReader& in, T (*get)(CanonicalReader&)) {
  std::map<Institution, T> by_name;
  const uint32_t count = in.Count(kMaxMembers, kMemberSize);
  for (uint32_t i = 0; i < count; ++i) {
    Institution institution{GetText(in)};
    by_name[std::move(institution)] = get(in);
  }
  return by_name;
}

BetweenRounds GetBetweenRounds(uint8_t version, CanonicalReader& in) {
  BetweenRounds between{.blamed = GetByName(in, GetBlame)};
  if (version <= kFourthVersion) return between;
  between.work = GetByName(in, GetWork);
  if (in.U8() != 0) between.burnt_in_a_row = GetInt(in);
  return between;
}

void PutWhat(CanonicalWriter& out, const RunEvent& event) {
  std::visit(Overloaded{[](const Released&) { Check(false, "a release ends a journal"); },
                        [](const PauseRequested&) { Check(false, "a pause is the run's"); },
                        [](const ResumeRequested&) { Check(false, "a pause is the run's"); },
                        [&](const ReleaseFailed& e) {
                          Put(out,
                              e.is_impossible_sum ? Kind::kImpossibleSum : Kind::kReleaseFailed);
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
    case Kind::kImpossibleSum:
      return RunEvent(
          ReleaseFailed{.reason = GetText(in), .is_impossible_sum = kind == Kind::kImpossibleSum});
    case Kind::kContributionsLost:
      return RunEvent(GetContributionsLost(in));
    case Kind::kStopRequested:
      return RunEvent(StopRequested{.reason = GetText(in)});
    case Kind::kTimeIsUp:
      return TimeIsUp{};
    case Kind::kNewProcess:
      return NewProcess{};
    case Kind::kBetweenRounds:
      return GetBetweenRounds(version, in);
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
  out.U8(VersionOf(entry)).U64(entry.number);
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
      kind > static_cast<uint8_t>(Kind::kLogRefused)) {
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
