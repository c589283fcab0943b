// SPDX-License-Identifier: Apache-2.0

#include "tests/simulation/planted_bugs.h"

#include <optional>
#include <set>
#include <utility>

#include "base/check.h"
#include "base/sqlite/sqlite.h"
#include "base/status.h"
#include "coordinator/driver/release/global_adapter.h"
#include "coordinator/driver/run_overview.h"
#include "coordinator/rounds/round_journal.h"
#include "coordinator/storage/forwarding_store.h"
#include "privacy/secure_aggregation/messages.h"

namespace fedtune::simulation {
namespace {

// A release with all that it points to.
struct KeptRelease {
  KeptRelease(RunId its_run, const NewRelease& its_release)
      : run(std::move(its_run)),
        adapter(its_release.adapter.begin(), its_release.adapter.end()),
        optimizer_state(its_release.optimizer_state.begin(), its_release.optimizer_state.end()),
        release(its_release) {
    release.adapter = adapter;
    release.optimizer_state = optimizer_state;
    release.adapter_draft = release.state_draft = nullptr;
  }
  KeptRelease(const KeptRelease&) = delete;
  KeptRelease& operator=(const KeptRelease&) = delete;

  RunId run;
  std::vector<std::byte> adapter;
  std::vector<std::byte> optimizer_state;
  NewRelease release;
};

bool IsContribution(const std::string& bytes) {
  const absl::StatusOr<JournalEntry> entry = JournalEntryFromBytes(bytes);
  const auto* received = std::get_if<ReceivedFromClient>(&entry->what);
  return received != nullptr && std::holds_alternative<ContributionTaken>(received->event);
}

// The coordinator tells of a release before it is on the disk: it gets there with
// the next change only.
class SendsFirst final : public Doubles {
 public:
  RunStore& Store(RunStore& disk) override { return store_.emplace(disk); }
  void CoordinatorEnded() override { store_->unwritten.reset(); }

 private:
  struct LateStore final : ForwardingStore {
    using ForwardingStore::ForwardingStore;
    absl::Status SaveRelease(const RunId& id, const NewRelease& release) override {
      Write();
      unwritten = std::make_unique<KeptRelease>(id, release);
      return absl::OkStatus();
    }
    absl::Status SaveClients(const RunId& id, const std::vector<ClientView>& clients) override {
      Write();
      return ForwardingStore::SaveClients(id, clients);
    }
    absl::Status End(const RunId& id, const RunEnding& ending) override {
      Write();
      return ForwardingStore::End(id, ending);
    }
    void Write() {
      if (unwritten == nullptr) return;
      Check(disk().SaveRelease(unwritten->run, unwritten->release).ok(), "the disk takes it");
      unwritten.reset();
    }
    std::unique_ptr<KeptRelease> unwritten;
  };
  std::optional<LateStore> store_;
};

// A contribution that was begun and is sent again counts twice.
class CountsRetriesTwice final : public Doubles {
 public:
  void Arriving(ContributionHeader& header, const RunView&) override {
    if (!begun_.insert(header.sha256).second) again_.insert(header.sha256);
  }
  bool Arrived(const ContributionHeader& header, std::vector<float>& values) override {
    if (!again_.contains(header.sha256)) return false;
    for (float& value : values) value *= 2;
    return true;
  }

 private:
  std::set<Digest> begun_;
  std::set<Digest> again_;
};

// A new process does not know that the round was under way.
class ForgetsTheAttempt final : public Doubles {
 public:
  RunStore& Store(RunStore& disk) override { return store_.emplace(disk); }

 private:
  struct ForgetfulStore final : ForwardingStore {
    using ForwardingStore::ForwardingStore;
    absl::StatusOr<RunRecord> Get(const RunId& id) const override {
      auto record = ForwardingStore::Get(id);
      if (record.ok() && record->state == RunState::kRunning) {
        record->state = RunState::kInviting;
        record->attempts_opened = 0;
      }
      return record;
    }
    absl::StatusOr<std::vector<std::string>> Journal(const RunId&) const override {
      return std::vector<std::string>();
    }
  };
  std::optional<ForgetfulStore> store_;
};

// A new process does not know which contributions have been taken.
class ForgetsContributions final : public Doubles {
 public:
  RunStore& Store(RunStore& disk) override { return store_.emplace(disk); }

 private:
  struct ForgetfulStore final : ForwardingStore {
    using ForwardingStore::ForwardingStore;
    absl::StatusOr<std::vector<std::string>> Journal(const RunId& id) const override {
      std::vector<std::string> entries = *ForwardingStore::Journal(id);
      std::erase_if(entries, IsContribution);
      return entries;
    }
  };
  std::optional<ForgetfulStore> store_;
};

// Of several contributions that are taken together the first one is stored.
class StoresTheFirstOfSeveral final : public Doubles {
 public:
  RunStore& Store(RunStore& disk) override { return store_.emplace(disk); }
  void CoordinatorEnded() override { store_->left_out = 0; }

 private:
  struct ForgetfulStore final : ForwardingStore {
    using ForwardingStore::ForwardingStore;
    absl::Status OpenJournal(const RunId& id, int64_t attempt, std::string_view entry) override {
      left_out = 0;
      return ForwardingStore::OpenJournal(id, attempt, entry);
    }
    absl::Status AppendToJournal(const RunId& id,
                                 const std::vector<std::string>& entries) override {
      std::vector<std::string> stored;
      bool has_one = false;
      for (const std::string& bytes : entries) {
        if (IsContribution(bytes) && std::exchange(has_one, true)) {
          ++left_out;
          continue;
        }
        JournalEntry entry = *JournalEntryFromBytes(bytes);
        entry.number -= left_out;
        stored.push_back(ToBytes(entry));
      }
      return ForwardingStore::AppendToJournal(id, stored);
    }
    uint64_t left_out = 0;  // Since the journal was opened.
  };
  std::optional<ForgetfulStore> store_;
};

class NeverTicks final : public Doubles {
 public:
  std::unique_ptr<TimerQueue> Timers(std::unique_ptr<TimerQueue> timers) override {
    return std::make_unique<DeafTimers>(std::move(timers));
  }

 private:
  class DeafTimers final : public TimerQueue {
   public:
    explicit DeafTimers(std::unique_ptr<TimerQueue> timers) : timers_(std::move(timers)) {}
    void At(absl::Duration, std::function<void()>) override {}
    void After(absl::Duration wait, std::function<void()> function) override {
      timers_->After(wait, std::move(function));
    }
    void Stop() override { timers_->Stop(); }

   private:
    const std::unique_ptr<TimerQueue> timers_;
  };
};

// Takes what was made for an attempt that is over for the open one.
class TakesOldAttempts final : public Doubles {
 public:
  void Arriving(ContributionHeader& header, const RunView& view) override {
    if (header.round == view.rounds_done) header.attempt = view.attempt;
  }
};

// A client gives shares for two sets of survivors: what it says of one, it also
// says without one of the shares.
class UnmasksTwice final : public Doubles {
 public:
  std::vector<v1::ClientMessage> AlsoSaid(const v1::ClientMessage& said) override {
    const std::string& text = said.secure_aggregation().message();
    auto shares = DecodeUnmaskShares(Bytes(text.begin(), text.end()));
    if (!shares.ok()) return {};
    shares->shares.front().reset();
    const Bytes bytes = Encode(*shares);
    v1::ClientMessage other = said;
    other.mutable_secure_aggregation()->set_message(bytes.data(), bytes.size());
    return {other};
  }
};

// Each release is made from the first adapter.
class ReleasesUnchained final : public Doubles {
 public:
  RunStore& Store(RunStore& disk) override { return store_.emplace(disk); }

 private:
  struct UnchainedStore final : ForwardingStore {
    using ForwardingStore::ForwardingStore;
    absl::Status SaveRelease(const RunId& id, const NewRelease& release) override {
      const RunRecord run = *disk().Get(id);
      std::vector<float> values = Values(release.adapter);
      const std::vector<float> before = Values(disk().GetBlob(run.adapter)->bytes());
      const std::vector<float> first = Values(disk().GetBlob(run.initial_adapter)->bytes());
      for (size_t i = 0; i < values.size(); ++i) values[i] = first[i] + (values[i] - before[i]);
      const GlobalAdapter other(std::move(values));
      NewRelease changed = release;
      changed.adapter = other.bytes();
      changed.adapter_draft = nullptr;
      changed.record.adapter = other.digest();
      return disk().SaveRelease(id, changed);
    }
    static std::vector<float> Values(std::span<const std::byte> bytes) {
      const auto* start = reinterpret_cast<const float*>(bytes.data());
      return {start, start + bytes.size() / sizeof(float)};
    }
  };
  std::optional<UnchainedStore> store_;
};

// Somebody is counted who was not asked.
class CountsStrangers final : public Doubles {
 public:
  RunStore& Store(RunStore& disk) override { return store_.emplace(disk); }

 private:
  struct GenerousStore final : ForwardingStore {
    using ForwardingStore::ForwardingStore;
    absl::Status SaveRelease(const RunId& id, const NewRelease& release) override {
      NewRelease changed = release;
      if (!changed.contributions.empty()) {
        changed.contributions.back().institution = Institution{"a-stranger"};
      }
      return disk().SaveRelease(id, changed);
    }
  };
  std::optional<GenerousStore> store_;
};

// Somebody is counted twice who was asked once.
class CountsOneTwice final : public Doubles {
 public:
  RunStore& Store(RunStore& disk) override { return store_.emplace(disk); }

 private:
  struct DoublingStore final : ForwardingStore {
    using ForwardingStore::ForwardingStore;
    absl::Status SaveRelease(const RunId& id, const NewRelease& release) override {
      NewRelease changed = release;
      if (changed.contributions.size() > 1) {
        changed.contributions.back() = changed.contributions.front();
      }
      return disk().SaveRelease(id, changed);
    }
  };
  std::optional<DoublingStore> store_;
};

// A client's journal is gone with its process.
class LosesJournals final : public Doubles {
 public:
  void ClientEnded(const std::filesystem::path& journal) override {
    for (const char* suffix : {"", "-wal", "-shm"}) {
      std::filesystem::remove(journal.string() + suffix);
    }
  }
};

// A client's disk loses what was written last, the digest of what was masked, and
// its training does not give the same again.
class MasksTwice final : public Doubles {
 public:
  void ClientEnded(const std::filesystem::path& journal) override {
    if (!std::filesystem::exists(journal)) return;
    auto database = SqliteDatabase::Open(journal);
    Check(database.ok(), Message(database.status()));
    const absl::Status cut = database->Execute("DELETE FROM records WHERE number >= 3");
    Check(cut.ok(), Message(cut));
  }
  uint64_t TrainingNonce() override { return ++trainings_; }

 private:
  uint64_t trainings_ = 0;
};

// A client takes silence for an answer.
class BelievesInSilence final : public Doubles {
 public:
  absl::Status Heard(absl::Status answer) override {
    return absl::IsUnavailable(answer) ? absl::OkStatus() : answer;
  }
};

// The coordinator does not wait for the disk before it says that it has a contribution.
class SkipsTheSpoolsSync final : public Doubles {
 public:
  bool LosesSyncs() override { return true; }
};

// The journal gets to the disk with the next change only.
class WritesTheJournalLate final : public Doubles {
 public:
  RunStore& Store(RunStore& disk) override { return store_.emplace(disk); }
  void CoordinatorEnded() override { store_->unwritten.clear(); }

 private:
  struct LateStore final : ForwardingStore {
    using ForwardingStore::ForwardingStore;
    absl::Status AppendToJournal(const RunId& id,
                                 const std::vector<std::string>& entries) override {
      return ForwardingStore::AppendToJournal(id, std::exchange(unwritten, entries));
    }
    absl::Status OpenJournal(const RunId& id, int64_t attempt, std::string_view entry) override {
      unwritten.clear();
      return ForwardingStore::OpenJournal(id, attempt, entry);
    }
    std::vector<std::string> unwritten;
  };
  std::optional<LateStore> store_;
};

// After a restart, what was late and has been counted counts in the open round as well.
class CountsLateOnesAgain final : public Doubles {
 public:
  void CoordinatorEnded() override { restarted_ = true; }
  void Arriving(ContributionHeader& header, const RunView& view) override {
    if (header.round >= view.rounds_done) return;
    if (!late_.contains(header.sha256)) return late_.insert(header.sha256), void();
    if (!restarted_) return;
    header.round = view.rounds_done;
    header.attempt = view.attempt;
    header.adapter = view.adapter;
  }

 private:
  std::set<Digest> late_;
  bool restarted_ = false;
};

// A new process takes the late contributions in its journal for new ones.
class ForgetsLateness final : public Doubles {
 public:
  RunStore& Store(RunStore& disk) override { return store_.emplace(disk); }

 private:
  struct ForgetfulStore final : ForwardingStore {
    using ForwardingStore::ForwardingStore;
    absl::StatusOr<std::vector<std::string>> Journal(const RunId& id) const override {
      std::vector<std::string> entries = *ForwardingStore::Journal(id);
      std::optional<AttemptOpened> opened;
      for (std::string& bytes : entries) {
        absl::StatusOr<JournalEntry> entry = JournalEntryFromBytes(bytes);
        if (const auto* opening = std::get_if<AttemptOpened>(&entry->what)) opened = *opening;
        auto* received = std::get_if<ReceivedFromClient>(&entry->what);
        auto* taken =
            received == nullptr ? nullptr : std::get_if<ContributionTaken>(&received->event);
        if (taken == nullptr || taken->header.round == opened->round) continue;
        taken->header.round = opened->round;
        taken->header.attempt = opened->attempt;
        taken->header.adapter = disk().Get(id)->adapter;
        bytes = ToBytes(*entry);
      }
      return entries;
    }
  };
  std::optional<ForgetfulStore> store_;
};

// A new process does not know that the run is to pause.
class ForgetsThePause final : public Doubles {
 public:
  RunStore& Store(RunStore& disk) override { return store_.emplace(disk); }

 private:
  struct ForgetfulStore final : ForwardingStore {
    using ForwardingStore::ForwardingStore;
    absl::StatusOr<RunRecord> Get(const RunId& id) const override {
      auto record = ForwardingStore::Get(id);
      if (record.ok()) record->pause.reset();
      return record;
    }
  };
  std::optional<ForgetfulStore> store_;
};

// A run that is tried again begins to count its attempts anew.
class CountsAttemptsAnew final : public Doubles {
 public:
  RunStore& Store(RunStore& disk) override { return store_.emplace(disk); }

 private:
  struct ForgetfulStore final : ForwardingStore {
    using ForwardingStore::ForwardingStore;
    absl::StatusOr<RunRecord> Get(const RunId& id) const override {
      auto record = ForwardingStore::Get(id);
      if (record.ok() && HasEnded(record->state)) record->attempts_opened = 0;
      return record;
    }
  };
  std::optional<ForgetfulStore> store_;
};

// A client that connects is told of the runs that have begun since the coordinator did.
class NamesNoOldRuns final : public Doubles {
 public:
  void CoordinatorEnded() override { has_ended_ = true; }
  void Welcoming(v1::Welcome& welcome) override {
    if (has_ended_) welcome.mutable_runs_under_way()->clear_run_ids();
  }

 private:
  bool has_ended_ = false;
};

template <typename Bug>
PlantedBug Named(std::string name, std::string violation) {
  return {std::move(name), std::move(violation), [] { return std::make_unique<Bug>(); }};
}

}  // namespace

const std::vector<PlantedBug>& PlantedBugs() {
  static const auto& bugs = *new std::vector<PlantedBug>{
      Named<SendsFirst>("ReleaseIsSentBeforeItIsStored", "is announced, and"),
      Named<CountsRetriesTwice>("RetryCountsTwice", "is not the step by its contributors' sum"),
      Named<ForgetsContributions>("ContributionsAreForgottenAtARestart",
                                  "acknowledged and is not counted"),
      Named<StoresTheFirstOfSeveral>("OfSeveralTogetherOneIsStored",
                                     "acknowledged and is not counted"),
      Named<ForgetsTheAttempt>("SurvivorsAreNamedAnewAfterARestart", "survivors are named in two"),
      Named<NeverTicks>("DeadlineNeverTicks", "has not ended by its deadline"),
      Named<TakesOldAttempts>("ClosedAttemptIsTaken", "sent nothing for it"),
      Named<UnmasksTwice>("ClientUnmasksTwice", "says one thing two ways"),
      Named<ReleasesUnchained>("ReleaseIsNotMadeFromTheOneBefore",
                               "is not the step by its contributors' sum"),
      Named<CountsStrangers>("StrangerIsCounted", "was not asked"),
      Named<CountsOneTwice>("ContributorIsNamedTwice", "is counted twice"),
      Named<LosesJournals>("ClientLosesItsJournal", "says one thing two ways"),
      Named<MasksTwice>("MaskServesTwice", "masks twice"),
      Named<BelievesInSilence>("LostContributionIsAcknowledged", "acknowledged and is not counted"),
      Named<SkipsTheSpoolsSync>("AcknowledgedBeforeTheSpoolIsSynced",
                                "acknowledged and is not counted"),
      Named<WritesTheJournalLate>("AcknowledgedBeforeTheJournalIsStored",
                                  "acknowledged and is not counted"),
      Named<CountsLateOnesAgain>("KeptContributionCountsTwiceAfterARestart",
                                 "and for the same in round"),
      Named<ForgetsLateness>("LateContributionIsNotDiscountedAfterARestart", "has the weight"),
      Named<ForgetsThePause>("PauseIsForgottenAtARestart", "although the run is paused"),
      Named<CountsAttemptsAnew>("RetryNumbersAttemptsAnew", "is opened after"),
      Named<NamesNoOldRuns>("RunIsForgottenAtARestart", "told that a run is not under way"),
  };
  return bugs;
}

}  // namespace fedtune::simulation
