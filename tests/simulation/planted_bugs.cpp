// SPDX-License-Identifier: Apache-2.0

#include "tests/simulation/planted_bugs.h"

#include <optional>
#include <set>
#include <utility>

#include "base/check.h"
#include "base/sqlite/sqlite.h"
#include "base/status.h"
#include "coordinator/driver/run_overview.h"
#include "privacy/secure_aggregation/messages.h"
#include "tests/simulation/planted_stores.h"

namespace fedtune::simulation {
namespace {

// A coordinator with this store before its disk.
template <typename Planted>
class With final : public Doubles {
 public:
  RunStore& Store(RunStore& disk) override { return store_.emplace(disk); }
  void CoordinatorEnded() override {
    if (store_.has_value()) store_->ProcessEnds();
  }

 private:
  std::optional<Planted> store_;
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
      Named<With<SendsFirst>>("ReleaseIsSentBeforeItIsStored", "is announced, and"),
      Named<CountsRetriesTwice>("RetryCountsTwice", "is not the step by its contributors' sum"),
      Named<With<ForgetsContributions>>("ContributionsAreForgottenAtARestart",
                                        "acknowledged and is not counted"),
      Named<With<StoresTheFirstOfSeveral>>("OfSeveralTogetherOneIsStored",
                                           "acknowledged and is not counted"),
      Named<With<ForgetsTheAttempt>>("SurvivorsAreNamedAnewAfterARestart",
                                     "survivors are named in two"),
      Named<NeverTicks>("DeadlineNeverTicks", "has not ended by its deadline"),
      Named<TakesOldAttempts>("ClosedAttemptIsTaken", "sent nothing for it"),
      Named<UnmasksTwice>("ClientUnmasksTwice", "says one thing two ways"),
      Named<With<ReleasesUnchained>>("ReleaseIsNotMadeFromTheOneBefore",
                                     "is not the step by its contributors' sum"),
      Named<With<CountsStrangers>>("StrangerIsCounted", "was not asked"),
      Named<With<CountsOneTwice>>("ContributorIsNamedTwice", "is counted twice"),
      Named<LosesJournals>("ClientLosesItsJournal", "says one thing two ways"),
      Named<MasksTwice>("MaskServesTwice", "masks twice"),
      Named<BelievesInSilence>("LostContributionIsAcknowledged", "acknowledged and is not counted"),
      Named<SkipsTheSpoolsSync>("AcknowledgedBeforeTheSpoolIsSynced",
                                "acknowledged and is not counted"),
      Named<With<WritesTheJournalLate>>("AcknowledgedBeforeTheJournalIsStored",
                                        "acknowledged and is not counted"),
      Named<CountsLateOnesAgain>("KeptContributionCountsTwiceAfterARestart",
                                 "and for the same in round"),
      Named<With<ForgetsLateness>>("LateContributionIsNotDiscountedAfterARestart",
                                   "has the weight"),
      Named<With<ForgetsThePause>>("PauseIsForgottenAtARestart", "although the run is paused"),
      Named<With<CountsAttemptsAnew>>("RetryNumbersAttemptsAnew", "is opened after"),
      Named<NamesNoOldRuns>("RunIsForgottenAtARestart", "told that a run is not under way"),
  };
  return bugs;
}

}  // namespace fedtune::simulation
