// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "coordinator/rounds/round_journal.h"
#include "coordinator/rounds/run.h"

namespace fedtune::testing {

// The journal of a run's open attempt, kept as the driver keeps it; each entry
// goes through its bytes.
class RunJournal {
 public:
  // Call it before the run receives what it names.
  void Write(absl::Duration now, decltype(JournalEntry::what) what) {
    if (!entries_.empty()) Add({now - opened_at_, std::move(what)});
  }

  // Call it with what the run answers.
  void Follow(absl::Duration now, const Effects& effects) {
    for (const Effect& effect : effects) {
      const auto* open = std::get_if<OpenAggregation>(&effect);
      if (open == nullptr || open->restored) continue;
      entries_.clear();
      opened_at_ = now;
      Add({absl::ZeroDuration(), open->opened});
    }
  }

  // A release is stored.
  void Clear() { entries_.clear(); }

  // The time of the last entry. Requires that there is one.
  absl::Duration last() const { return opened_at_ + entries_.back().at; }

  // What a new process has, in which it is `now`.
  std::vector<JournalEntry> Restart(absl::Duration now) {
    if (!entries_.empty()) opened_at_ = now - entries_.back().at;
    std::vector<JournalEntry> stored = entries_;
    Write(now, NewProcess{});
    return stored;
  }

  bool empty() const { return entries_.empty(); }

 private:
  void Add(const JournalEntry& entry) {
    entries_.push_back(JournalEntryFromBytes(ToBytes(entry)).value());
  }

  std::vector<JournalEntry> entries_;
  absl::Duration opened_at_;
};

// What the run's client table would have.
inline std::vector<ResumePoint::Client> ClientsOf(const RunView& view) {
  std::vector<ResumePoint::Client> clients;
  for (const ClientView& client : view.clients) {
    clients.push_back({.institution = client.institution,
                       .accepted = client.accepted,
                       .declined = client.state == ClientStanding::kDeclined ||
                                   client.state == ClientStanding::kRefusing,
                       .refuses_log = client.state == ClientStanding::kRefusing,
                       .reason = client.reason,
                       .example_count = client.example_count,
                       .rounds_contributed = client.rounds_contributed});
  }
  return clients;
}

}  // namespace fedtune::testing
