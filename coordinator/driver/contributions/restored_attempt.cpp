// SPDX-License-Identifier: Apache-2.0

#include "coordinator/driver/contributions/restored_attempt.h"

#include <map>
#include <set>
#include <utility>

#include "base/status.h"
#include "base/status_macros.h"

namespace fedtune {
namespace {

// The contribution that an entry tells of; null for the others.
const ReceivedFromClient* ContributionIn(const JournalEntry& entry) {
  const auto* received = std::get_if<ReceivedFromClient>(&entry.what);
  const bool is_one =
      received != nullptr && std::holds_alternative<ContributionTaken>(received->event);
  return is_one ? received : nullptr;
}

// All entries, each in its place.
absl::StatusOr<std::vector<JournalEntry>> EntriesFrom(const std::vector<std::string>& stored) {
  std::vector<JournalEntry> entries;
  for (const std::string& bytes : stored) {
    ASSIGN_OR_RETURN(JournalEntry entry, JournalEntryFromBytes(bytes));
    if (entry.number != entries.size()) {
      return absl::DataLossError("an entry of the journal is missing");
    }
    entries.push_back(std::move(entry));
  }
  return entries;
}

// Who has handed in twice did so because the first was lost to a process between: it
// does not count, though it may be there again, or the second lie in its place.
void LeaveOutReplaced(std::vector<JournalEntry>& entries) {
  std::map<Institution, uint64_t> last;
  for (const JournalEntry& entry : entries) {
    if (const auto* received = ContributionIn(entry)) last[received->from] = entry.number;
  }
  std::erase_if(entries, [&](const JournalEntry& entry) {
    const auto* received = ContributionIn(entry);
    return received != nullptr && last.at(received->from) != entry.number;
  });
}

// That of the entry, if it has one with bytes.
absl::Status RestoreContribution(const JournalEntry& entry, const Plan& plan, const Spool& spool,
                                 Spool::OpenFiles& open,
                                 std::vector<RestoredContribution>& contributions) {
  if (entry.spool_file.empty()) return absl::OkStatus();
  const ReceivedFromClient* received = ContributionIn(entry);
  if (received == nullptr) return absl::DataLossError("it belongs to no contribution");
  const ContributionHeader& header = std::get<ContributionTaken>(received->event).header;
  if (plan.aggregation.mode == AggregationMode::kPlain) {
    ASSIGN_OR_RETURN(
        VerifiedValues values,
        ContributionBuffer::Restore(header, spool, entry.spool_file, entry.content, open));
    contributions.push_back({received->from, header, std::move(values)});
  } else {
    ASSIGN_OR_RETURN(std::shared_ptr<MaskedElements> input,
                     MaskedInput::Restore(header, plan.secure.ring, spool, entry.spool_file,
                                          entry.content, open));
    contributions.push_back({received->from, header, std::move(input)});
  }
  return absl::OkStatus();
}

// How the names of uploads begin that go on in the attempt.
std::string SlotsIn(const std::vector<JournalEntry>& journal) {
  const auto* opened = std::get_if<AttemptOpened>(&journal.front().what);
  return opened == nullptr ? "" : SlotsOf(opened->round, opened->attempt);
}

}  // namespace

absl::StatusOr<RestoredAttempt> RestoreAttempt(const RunId& id, const Plan& plan,
                                               const std::vector<std::string>& journal,
                                               const Spool& spool, Log& log) {
  ASSIGN_OR_RETURN(std::vector<JournalEntry> entries, EntriesFrom(journal));
  const bool is_plain = plan.aggregation.mode == AggregationMode::kPlain;
  if (is_plain) LeaveOutReplaced(entries);
  RestoredAttempt attempt;
  std::set<std::string> wanted;
  Spool::OpenFiles open;
  for (JournalEntry& entry : entries) {
    const absl::Status restored =
        RestoreContribution(entry, plan, spool, open, attempt.contributions);
    if (restored.ok()) {
      wanted.insert(entry.spool_file);
    } else {
      log.Warning("a contribution that had been taken is lost",
                  {Field("run", id.value), Field("why", Message(restored))});
      if (is_plain) continue;
      attempt.lost = Message(restored);
    }
    attempt.journal.push_back(std::move(entry));
  }
  if (attempt.journal.empty()) return absl::DataLossError("no entry of the journal is left");
  spool.Remove(id.value, wanted, SlotsIn(attempt.journal));
  return attempt;
}

}  // namespace fedtune
