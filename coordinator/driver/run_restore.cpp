// SPDX-License-Identifier: Apache-2.0

// A run that goes on in a new process: what its journal and the spool say is
// brought back before the run hears of anything new.

#include <set>
#include <utility>

#include "base/overloaded.h"
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
  std::vector<JournalEntry> journal;
  std::set<std::string> wanted;
  uint64_t next = 0;
  for (const std::string& bytes : old_journal_) {
    ASSIGN_OR_RETURN(JournalEntry entry, JournalEntryFromBytes(bytes));
    if (entry.number != next++) return absl::DataLossError("an entry of the journal is missing");
    const absl::Status restored =
        entry.spool_file.empty() ? absl::OkStatus() : RestoreContribution(entry);
    if (restored.ok()) {
      wanted.insert(entry.spool_file);
      journal.push_back(std::move(entry));
      continue;
    }
    Warn("a contribution that had been taken is lost", restored);
    if (plan_.aggregation.mode == AggregationMode::kPlain) continue;
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

absl::Status RunDriver::RestoreContribution(const JournalEntry& entry) {
  const ReceivedFromClient* received = ContributionIn(entry);
  if (received == nullptr) return absl::DataLossError("it belongs to no contribution");
  const ContributionHeader& header = std::get<ContributionTaken>(received->event).header;
  if (plan_.aggregation.mode == AggregationMode::kPlain) {
    ASSIGN_OR_RETURN(VerifiedValues values,
                     ContributionBuffer::Restore(header, around_.spool, entry.spool_file));
    restored_.push_back({received->from, header, std::move(values)});
  } else {
    ASSIGN_OR_RETURN(MaskedInput input, MaskedInput::Restore(header, plan_.secure.ring,
                                                             around_.spool, entry.spool_file));
    restored_.push_back({received->from, header, std::move(input)});
  }
  return absl::OkStatus();
}

// Once the sum of the attempt is there. All have been added before, in this order.
void RunDriver::AddRestored() {
  for (RestoredContribution& restored : std::exchange(restored_, {})) {
    const auto admission = run_->CheckContribution(restored.from, restored.header);
    if (!admission.ok() || !admission->repeated) continue;
    const ContributionRecord record = RecordOf(restored.from, restored.header, *admission);
    const absl::Status added = std::visit(
        Overloaded{[&](VerifiedValues& values) { return sum_->Add(std::move(values), record); },
                   [&](MaskedInput& input) {
                     return masked_sum_->Add(input, {.institution = record.institution,
                                                     .sha256 = record.sha256,
                                                     .metrics = {}});
                   }},
        restored.what);
    if (added.ok()) continue;
    around_.work.Add([self = shared_from_this(), why = std::string(Message(added))] {
      self->Receive(ReleaseFailed{why});
    });
  }
}

}  // namespace fedtune
