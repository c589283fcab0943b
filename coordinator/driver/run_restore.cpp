// SPDX-License-Identifier: Apache-2.0

// A run that goes on in a new process: what its journal and the spool say is
// brought back before the run hears of anything new.

#include <map>
#include <set>
#include <utility>

#include "base/status.h"
#include "base/status_macros.h"
#include "coordinator/driver/run_driver.h"
#include "fmt/format.h"

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

}  // namespace

absl::StatusOr<Run> RunDriver::GoOn(Run::Options options, absl::Duration now, Effects& effects) {
  ResumePoint& point = *options.resume;
  absl::StatusOr<std::vector<JournalEntry>> journal = RestoreJournal(point.lost);
  const size_t stored = std::exchange(old_journal_, {}).size();
  absl::Status why = journal.status();
  if (journal.ok()) {
    point.journal = *std::move(journal);
    journal_.GoOn(now, point.journal.back().at, stored);
    absl::StatusOr<Run> run = Run::Start(options, now, effects);
    if (!absl::IsDataLoss(run.status())) return run;
    why = run.status();
  }
  Warn("the round cannot go on where it was", why);
  journal_.Close();
  restored_.clear();
  effects.clear();
  point.journal.clear();
  return Run::Start(std::move(options), now, effects);
}

// A plain contribution that is lost is asked for again. In a secure round another
// one may not take its place: `lost` says so.
absl::StatusOr<std::vector<JournalEntry>> RunDriver::RestoreJournal(std::string& lost) {
  ASSIGN_OR_RETURN(std::vector<JournalEntry> entries, EntriesFrom(old_journal_));
  const bool is_plain = plan_.aggregation.mode == AggregationMode::kPlain;
  if (is_plain) LeaveOutReplaced(entries);
  std::vector<JournalEntry> journal;
  std::set<std::string> wanted;
  Spool::OpenFiles open;
  for (JournalEntry& entry : entries) {
    const absl::Status restored =
        entry.spool_file.empty() ? absl::OkStatus() : RestoreContribution(entry, open);
    if (restored.ok()) {
      wanted.insert(entry.spool_file);
      journal.push_back(std::move(entry));
      continue;
    }
    Warn("a contribution that had been taken is lost", restored);
    if (is_plain) continue;
    lost = Message(restored);
    journal.push_back(std::move(entry));
  }
  if (journal.empty()) return absl::DataLossError("no entry of the journal is left");
  std::string slots;
  if (const auto* opened = std::get_if<AttemptOpened>(&journal.front().what)) {
    slots = SlotsOf(opened->round, opened->attempt);
  }
  around_.spool.Remove(id().value, wanted, slots);
  return journal;
}

absl::Status RunDriver::RestoreContribution(const JournalEntry& entry, Spool::OpenFiles& open) {
  const ReceivedFromClient* received = ContributionIn(entry);
  if (received == nullptr) return absl::DataLossError("it belongs to no contribution");
  const ContributionHeader& header = std::get<ContributionTaken>(received->event).header;
  if (plan_.aggregation.mode == AggregationMode::kPlain) {
    ASSIGN_OR_RETURN(
        VerifiedValues values,
        ContributionBuffer::Restore(header, around_.spool, entry.spool_file, entry.content, open));
    restored_.push_back({received->from, header, std::move(values)});
  } else {
    ASSIGN_OR_RETURN(std::shared_ptr<const MaskedElements> input,
                     MaskedInput::Restore(header, plan_.secure.ring, around_.spool,
                                          entry.spool_file, entry.content, open));
    restored_.push_back({received->from, header, std::move(input)});
  }
  return absl::OkStatus();
}

// Once the sum of the attempt is there. All have been added before, in this order. What
// lies on the disk is checked later: the coordinator serves meanwhile.
void RunDriver::AddRestored() {
  for (RestoredContribution& restored : std::exchange(restored_, {})) {
    const auto admission = run_->CheckContribution(restored.from, restored.header);
    if (!admission.ok() || !admission->repeated) continue;
    ContributionRecord record = RecordOf(restored.from, restored.header, *admission);
    std::visit([&](auto& what) { AddRestored(what, std::move(record)); }, restored.what);
  }
  CheckNextRestored();
}

void RunDriver::AddRestored(const VerifiedValues& values, ContributionRecord record) {
  const absl::Status added = sum_->Add(values, std::move(record));
  if (!added.ok()) {
    return around_.work.Add([self = shared_from_this(), why = std::string(Message(added))] {
      self->Receive(ReleaseFailed{why});
    });
  }
  unchecked_.emplace_back([this, values = values.values] {
    const absl::Status whole = values->Check();
    if (!whole.ok()) Lose(*values, whole);
  });
}

void RunDriver::AddRestored(const std::shared_ptr<const MaskedElements>& input,
                            ContributionRecord record) {
  record.metrics = {};
  masked_sum_->Add(input, std::move(record));
  unchecked_.emplace_back([this, input] {
    const absl::Status whole = input->Check();
    if (!whole.ok()) Lose(*input, whole);
  });
}

// One after the other, and other work between.
void RunDriver::CheckNextRestored() {
  if (unchecked_.empty()) return;
  around_.work.Add([self = shared_from_this(), check = std::move(unchecked_.front())] {
    check();
    const std::lock_guard lock(self->mutex_);
    self->CheckNextRestored();
  });
  unchecked_.pop_front();
}

// If it is in no sum any more, whoever makes the release finds it.
void RunDriver::Lose(const SpooledValues& values, const absl::Status& why) {
  const std::lock_guard lock(mutex_);
  if (!sum_.has_value()) return;
  std::vector<Institution> lost = sum_->TakeOut(values);
  if (lost.empty()) return;
  TellLost(lost, why);
  ReceiveLocked(ContributionsLost{std::move(lost)});
}

void RunDriver::Lose(const MaskedElements& input, const absl::Status& why) {
  const std::lock_guard lock(mutex_);
  if (!masked_sum_.has_value() || !masked_sum_->Has(input)) return;
  Warn("a contribution that had been taken is lost", why);
  ReceiveLocked(ReleaseFailed{std::string(Message(why))});
}

void RunDriver::TellLost(const std::vector<Institution>& lost, const absl::Status& why) {
  for (const Institution& from : lost) {
    around_.log.Warning(
        "a contribution that had been taken is lost",
        {Field("run", id().value), Field("client", from.value), Field("why", Message(why))});
  }
}

}  // namespace fedtune
