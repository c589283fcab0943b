// SPDX-License-Identifier: Apache-2.0

#include "client/round/client_daemon.h"

#include <atomic>
#include <functional>
#include <thread>

#include "fmt/format.h"
#include "gmock/gmock.h"
#include "tests/support/fake_clock.h"
#include "tests/support/status_matchers.h"

namespace fedtune {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::Ge;
using testing::HasCode;
using testing::IsOk;
using ::testing::Le;
using ::testing::Not;

constexpr char kRun[] = "run-1cd1";

// What the daemon did, in lines that a test can wait for.
class Journal {
 public:
  void Write(std::string line) {
    const std::lock_guard lock(mutex_);
    lines_.push_back(std::move(line));
    written_.notify_all();
  }

  void Await(const std::string& line, size_t times = 1) {
    std::unique_lock lock(mutex_);
    written_.wait(lock, [&] {
      return static_cast<size_t>(std::count(lines_.begin(), lines_.end(), line)) >= times;
    });
  }

  std::vector<std::string> lines() {
    const std::lock_guard lock(mutex_);
    return lines_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable written_;
  std::vector<std::string> lines_;
};

// Moved by the test while the daemon looks at it.
class SharedClock final : public Clock {
 public:
  absl::Time Now() const override {
    const std::lock_guard lock(mutex_);
    return clock_.Now();
  }
  absl::Duration Monotonic() const override {
    const std::lock_guard lock(mutex_);
    return clock_.Monotonic();
  }
  void Advance(absl::Duration by) {
    const std::lock_guard lock(mutex_);
    clock_.Advance(by);
  }

 private:
  mutable std::mutex mutex_;
  testing::FakeClock clock_;
};

void AwaitStop(const std::stop_token& stop) {
  std::mutex mutex;
  std::condition_variable_any stopped;
  std::unique_lock lock(mutex);
  stopped.wait(lock, stop, [] { return false; });
}

class JournalLink final : public CoordinatorLink {
 public:
  explicit JournalLink(Journal& journal) : journal_(journal) {}

  void Send(const Reply& reply) override {
    if (const auto* answer = std::get_if<InvitationAnswer>(&reply)) {
      journal_.Write(fmt::format("answered {}", answer->accepted));
    } else if (const auto* failed = std::get_if<AttemptFailed>(&reply)) {
      journal_.Write("failed: " + failed->reason);
    } else if (const auto* progress = std::get_if<WorkProgress>(&reply)) {
      journal_.Write(fmt::format("is {}", ToString(progress->phase)));
    }
  }
  absl::StatusOr<std::vector<float>> FetchAdapter(WantedAdapter, std::stop_token,
                                                  const TransferObserver&) override {
    return absl::NotFoundError("none");
  }
  absl::Status Submit(std::shared_ptr<const Contribution> contribution,
                      std::stop_token stop) override {
    journal_.Write(fmt::format("submitted round {}", contribution->id.round));
    if (contribution->id.round == 4) {
      AwaitStop(stop);
      return absl::CancelledError("stopped");
    }
    return absl::OkStatus();
  }
  absl::Status SubmitMasked(std::shared_ptr<const MaskedContribution>, std::stop_token) override {
    return absl::UnimplementedError("the workshop's affair");
  }
  absl::StatusOr<LogProof> ProveLog(const LogQuestion&, std::stop_token) override {
    return absl::UnimplementedError("it keeps no log");
  }

 private:
  Journal& journal_;
};

// Round 0 is trained at once, round 1 until it is stopped, rounds 2 and 3 fail; round 4
// is handed in until it is stopped. Round 5 ends the client, and then fails.
class JournalWorkshop final : public Workshop {
 public:
  explicit JournalWorkshop(Journal& journal) : journal_(journal) {}

  std::optional<InvitationAnswer> Study(const Invitation& invitation, CoordinatorLink&,
                                        std::stop_token stop) override {
    if (before_study) before_study();
    if (waits_for_the_log) {
      journal_.Write("waits for the log");
      AwaitStop(stop);
      journal_.Write("stopped to study");
      return std::nullopt;
    }
    return InvitationAnswer{
        .run = invitation.run, .accepted = true, .example_count = 10, .secure = secure};
  }
  absl::Status LookAtLog(CoordinatorLink&, std::stop_token) override { return absl::OkStatus(); }
  absl::Status Work(const Assignment& assignment, CoordinatorLink&, WorkControl& control,
                    const WorkObserver& observer) override {
    journal_.Write(fmt::format("began round {}", assignment.id.round));
    observer({.id = assignment.id, .phase = WorkPhase::kTraining});
    if (assignment.id.round == 2) return absl::InternalError("the loss is not finite");
    if (assignment.id.round == 5) {
      journal_.Await("is training");
      end();
      return absl::AbortedError("the GPU is lost");
    }
    if (assignment.id.round == 3) {
      return absl::NotFoundError("cannot open /models/lite/config.json: No such file");
    }
    if (assignment.id.round == 1) {
      AwaitStop(control.stop_token());
      journal_.Write("stopped");
      return absl::CancelledError("stopped");
    }
    return absl::OkStatus();
  }
  Outcome Submit(const AttemptId& id, CoordinatorLink& link, std::stop_token stop) override {
    if (!secure)
      return link.Submit(std::make_shared<const Contribution>(Contribution{.id = id}),
                         std::move(stop));
    journal_.Write(fmt::format("began to aggregate round {}", id.round));
    return std::nullopt;
  }
  Outcome Answer(const Assignment& assignment, const Bytes& message, CoordinatorLink&,
                 std::stop_token) override {
    if (before_answer) before_answer();
    journal_.Write(fmt::format("answered {} in round {}", message[0], assignment.id.round));
    if (message[0] == 9) return absl::UnavailableError("disk full");
    if (message[0] == 6) return absl::AbortedError("the coordinator tells two stories");
    return message[0] == 8 ? Outcome(absl::OkStatus()) : std::nullopt;
  }
  absl::Status EndAggregation(const std::string& run) override {
    journal_.Write("ended the aggregation of " + run);
    return absl::OkStatus();
  }
  absl::Status EndAggregationsBut(const std::vector<std::string>& runs) override {
    journal_.Write(fmt::format("ended aggregations but of {} runs", runs.size()));
    return absl::OkStatus();
  }
  void Forget(const std::string& run) override { journal_.Write("forgot " + run); }
  void Discard(const std::string& run) override { journal_.Write("discarded " + run); }
  void KeepOnly(const std::vector<std::string>& runs) override {
    journal_.Write(fmt::format("kept only {} runs", runs.size()));
  }

  std::atomic<bool> secure = false;
  std::atomic<bool> waits_for_the_log = false;
  std::function<void()> end;
  std::function<void()> before_study;
  std::function<void()> before_answer;

 private:
  Journal& journal_;
};

class ClientDaemonTest : public ::testing::Test {
 protected:
  ClientDaemonTest()
      : link_(journal_),
        workshop_(journal_),
        daemon_({.hours = {},
                 .zone = absl::UTCTimeZone(),
                 .address = "here:1",
                 .local_names =
                     LocalNames(std::vector<LocalNames::Name>{{"/models/lite", "base model"}}),
                 .most_waiting_bytes = size_t{1} << 20},
                workshop_, clock_, log_),
        thread_([this](const std::stop_token& stop) { daemon_.Run(link_, stop); }) {
    Welcomes();
  }

  void Welcomes(const Welcome& welcome = {.federation = "north"}) {
    EXPECT_THAT(daemon_.OnWelcome(welcome), IsOk());
  }
  void Says(const Instruction& instruction) {
    EXPECT_THAT(daemon_.OnInstruction(instruction), IsOk());
  }
  void Invite() { Says(Invitation{.run = kRun}); }
  int64_t LinesLogged(std::string_view event) {
    const std::vector<std::string> lines = logged_.lines();
    return std::count_if(lines.begin(), lines.end(), [&](const std::string& line) {
      return line.find(event) != std::string::npos;
    });
  }
  void Assign(int64_t round) { Says(Assignment{.id = {.run = kRun, .round = round}}); }

  // Says such things until nothing more is heard; how many were.
  template <typename Next>
  size_t SaysAllThatIsHeard(const Next& next) {
    size_t heard = 0;
    absl::Status last;
    for (; last.ok() && heard < 10'000; ++heard) last = daemon_.OnInstruction(next(heard));
    EXPECT_THAT(last, HasCode(absl::StatusCode::kResourceExhausted));
    return heard - 1;
  }

  Journal journal_;
  JournalLink link_;
  JournalWorkshop workshop_;
  SharedClock clock_;
  Journal logged_;
  Log log_{[this](std::string_view line) { logged_.Write(std::string(line)); }};
  ClientDaemon daemon_;
  std::jthread thread_;
};

TEST_F(ClientDaemonTest, TakesARoundFromInvitationToContribution) {
  Invite();
  journal_.Await("answered true");
  Assign(0);
  journal_.Await("submitted round 0");
}

TEST_F(ClientDaemonTest, TellsThatItUploads) {
  Invite();
  Assign(4);
  journal_.Await("is training");
  journal_.Await("is uploading");
}

TEST_F(ClientDaemonTest, SubmitsAgainWhenTheAssignmentIsRepeated) {
  Invite();
  Assign(0);
  journal_.Await("submitted round 0");
  daemon_.OnLost(absl::UnavailableError("cut"), absl::Seconds(1));
  Welcomes();
  Assign(0);
  // The first submission may still be under way when the assignment comes: then
  // it is not repeated, and need not be.
  Says(RunOver{.run = kRun});
  journal_.Await("forgot run-1cd1");
  EXPECT_THAT(journal_.lines(), Contains("began round 0").Times(1));
}

TEST_F(ClientDaemonTest, SaysOnceThatAContributionIsNotTakenHoweverOftenItIsOffered) {
  workshop_.secure = true;
  Invite();
  journal_.Await("answered true");
  Assign(0);
  const AttemptId id{.run = kRun, .round = 0};
  for (const uint8_t kind : {9, 9, 9, 2}) {
    Says(SecureMessage{.id = id, .message = {kind}});
  }
  journal_.Await("answered 2 in round 0");
  Invite();  // It is answered when all outcomes before have been seen.
  journal_.Await("answered true", 2);
  EXPECT_EQ(LinesLogged("contribution not taken"), 1);
}

TEST_F(ClientDaemonTest, SaysOnceForEachReasonThatThereIsNoConnection) {
  for (const std::string_view why : {"nobody listens", "nobody listens", "expired", "expired"}) {
    daemon_.OnLost(absl::UnavailableError(std::string(why)), absl::Seconds(1));
  }
  Welcomes();
  daemon_.OnLost(absl::UnavailableError("nobody listens"), absl::Seconds(1));
  Invite();  // It is answered when all of this has been seen.
  journal_.Await("answered true");
  EXPECT_EQ(LinesLogged("nobody listens"), 2);
  EXPECT_EQ(LinesLogged("expired"), 1);
}

TEST_F(ClientDaemonTest, DoesNotFillTheLogWithReasonsThatAreEverNew) {
  for (int i = 0; i < 100; ++i) {
    daemon_.OnLost(absl::UnavailableError(fmt::format("port {}", i)), absl::Seconds(1));
  }
  Invite();
  journal_.Await("answered true");
  EXPECT_EQ(LinesLogged("no connection"), 8);
}

TEST_F(ClientDaemonTest, StopsTheWorkOfARoundThatCloses) {
  Invite();
  Assign(1);
  journal_.Await("began round 1");
  Says(RoundOver{.id = {.run = kRun, .round = 1}});
  journal_.Await("stopped");
}

TEST_F(ClientDaemonTest, ALongUploadForARoundThatHasClosedHoldsUpNoOthers) {
  Invite();
  Assign(4);
  journal_.Await("submitted round 4");
  Says(RoundOver{.id = {.run = kRun, .round = 4}});
  Assign(0);
  Invite();
  journal_.Await("answered true", 2);
  clock_.Advance(absl::Seconds(10));
  Invite();  // Any event: it looks at the clock.
  journal_.Await("submitted round 0");
  EXPECT_EQ(LinesLogged("contribution not taken"), 0);
}

TEST_F(ClientDaemonTest, GivesUpAnUploadWhenItIsStopped) {
  Invite();
  Assign(4);
  journal_.Await("submitted round 4");
  thread_.request_stop();
  thread_.join();
}

// The next process takes it up again.
TEST_F(ClientDaemonTest, TellsNothingOfWorkWhoseFailureEndsTheClient) {
  workshop_.end = [this] { thread_.request_stop(); };
  Invite();
  Assign(5);
  thread_.join();
  EXPECT_THAT(journal_.lines(), Not(Contains("failed: the GPU is lost")));
}

TEST_F(ClientDaemonTest, AnswersInvitationsWhileItTrains) {
  Invite();
  Assign(1);
  journal_.Await("began round 1");
  Says(Invitation{.run = "run-0002"});
  journal_.Await("answered true", 2);
}

TEST_F(ClientDaemonTest, TellsWhyARoundFailed) {
  Invite();
  Assign(2);
  journal_.Await("failed: the loss is not finite");
}

TEST_F(ClientDaemonTest, TellsNoPathOfThisMachine) {
  Invite();
  Assign(3);
  journal_.Await("failed: cannot open <base model>/config.json: No such file");
}

TEST_F(ClientDaemonTest, ForgetsARunThatEnds) {
  Invite();
  journal_.Await("answered true");
  Says(RunOver{.run = kRun, .state = "finished"});
  journal_.Await("forgot run-1cd1");
}

TEST_F(ClientDaemonTest, DiscardsWhatIsStoredOfARunWhenItsWorkHasEnded) {
  Invite();
  Assign(1);
  journal_.Await("began round 1");
  Says(RunOver{.run = kRun, .state = "stopped"});
  journal_.Await("discarded run-1cd1");
  const std::vector<std::string> lines = journal_.lines();
  EXPECT_LT(std::find(lines.begin(), lines.end(), "stopped"),
            std::find(lines.begin(), lines.end(), "discarded run-1cd1"));
}

TEST_F(ClientDaemonTest, KeepsOnlyWhatIsStoredOfOpenRuns) {
  Invite();
  journal_.Await("answered true");
  Welcomes({.runs_under_way = std::vector<std::string>{kRun}});
  journal_.Await("kept only 1 runs");
  journal_.Await("ended aggregations but of 1 runs");
  EXPECT_EQ(LinesLogged("run has ended meanwhile"), 0);
}

TEST_F(ClientDaemonTest, SaysThatARunHasEndedWhileItWasAway) {
  Invite();
  journal_.Await("answered true");
  Welcomes({.runs_under_way = std::vector<std::string>{"run-0002"}});
  journal_.Await("discarded run-1cd1");
  EXPECT_EQ(LinesLogged("run has ended meanwhile"), 1);
}

TEST_F(ClientDaemonTest, PassesTheMessagesOfASecureRoundOn) {
  workshop_.secure = true;
  Invite();
  Assign(0);
  journal_.Await("began to aggregate round 0");
  const AttemptId id{.run = kRun, .round = 0};
  Says(SecureMessage{.id = id, .message = {2}});
  journal_.Await("answered 2 in round 0");
  Says(SecureMessage{.id = id, .message = {8}});
  journal_.Await("answered 8 in round 0");
  Says(RoundOver{.id = id});
  journal_.Await("ended the aggregation of run-1cd1");
}

TEST_F(ClientDaemonTest, TellsWhyASecureRoundWasGivenUp) {
  workshop_.secure = true;
  Invite();
  Assign(0);
  journal_.Await("began to aggregate round 0");
  Says(SecureMessage{.id = {.run = kRun, .round = 0}, .message = {6}});
  journal_.Await("failed: the coordinator tells two stories");
}

TEST_F(ClientDaemonTest, EndsTheAggregationOfARunThatEnds) {
  Invite();
  journal_.Await("answered true");
  Says(RunOver{.run = kRun, .state = "finished"});
  journal_.Await("ended the aggregation of run-1cd1");
}

TEST_F(ClientDaemonTest, GivesUpItsWorkWhenItIsStopped) {
  Invite();
  Assign(1);
  journal_.Await("began round 1");
  thread_.request_stop();
  thread_.join();
  EXPECT_THAT(journal_.lines(), AllOf(Contains("stopped"), Not(Contains("submitted round 1"))));
}

// Of 1 MiB, that is: as much as may wait.
TEST_F(ClientDaemonTest, HearsNothingMoreOfACoordinatorThatChangesItsInvitationWithoutEnd) {
  workshop_.before_study = [this] { journal_.Await("may study"); };
  const size_t heard = SaysAllThatIsHeard([](size_t i) {
    return Invitation{.run = kRun, .plan_toml = fmt::format("{}{}", std::string(100'000, 'x'), i)};
  });
  EXPECT_THAT(heard, AllOf(Ge(5u), Le(10u)));
  journal_.Write("may study");
  journal_.Await("answered true", heard);
  Invite();
  journal_.Await("answered true", heard + 1);
}

TEST_F(ClientDaemonTest, NorOfOneThatGoesOnWithASecureAggregationBeforeItIsAnswered) {
  workshop_.secure = true;
  workshop_.before_answer = [this] { journal_.Await("may answer"); };
  Invite();
  journal_.Await("answered true");
  Assign(0);
  journal_.Await("began to aggregate round 0");
  const size_t heard = SaysAllThatIsHeard([](size_t) {
    return SecureMessage{.id = {.run = kRun, .round = 0}, .message = Bytes(100'000, 2)};
  });
  EXPECT_THAT(heard, AllOf(Ge(5u), Le(10u)));
  journal_.Write("may answer");
  journal_.Await("answered 2 in round 0", heard);
}

TEST_F(ClientDaemonTest, NorOfOneThatTellsOfEndsOfRunsWithoutEnd) {
  workshop_.before_study = [this] { journal_.Await("may study"); };
  workshop_.before_answer = [this] { journal_.Await("may answer"); };
  workshop_.secure = true;
  Invite();
  journal_.Write("may study");
  journal_.Await("answered true");
  Assign(0);
  journal_.Await("began to aggregate round 0");
  Says(SecureMessage{.id = {.run = kRun, .round = 0}, .message = {2}});
  const size_t heard = SaysAllThatIsHeard(
      [](size_t i) { return RunOver{.run = fmt::format("run-{}", i), .state = "finished"}; });
  EXPECT_THAT(heard, Le(1'100u)) << "behind an answer that takes its time";
  journal_.Write("may answer");
}

TEST_F(ClientDaemonTest, StopsToStudyARunThatIsOver) {
  workshop_.waits_for_the_log = true;
  Says(Invitation{.run = "run-1"});
  journal_.Await("waits for the log");
  workshop_.waits_for_the_log = false;
  Says(RunOver{.run = "run-1"});
  journal_.Await("stopped to study");
  Says(Invitation{.run = "run-2"});
  journal_.Await("answered true");
}

TEST_F(ClientDaemonTest, StopsToStudyWhenItEnds) {
  workshop_.waits_for_the_log = true;
  Says(Invitation{.run = "run-1"});
  journal_.Await("waits for the log");
  thread_.request_stop();
  journal_.Await("stopped to study");
}

}  // namespace
}  // namespace fedtune
