// SPDX-License-Identifier: Apache-2.0

// Random histories: whatever clients, driver and clock do, and however often its
// process ends, a run keeps its promises. Seeds are fixed; a failure names its own.

#include <map>
#include <random>
#include <set>

#include "coordinator/rounds/run.h"
#include "fmt/format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/run_journal.h"
#include "tests/support/status_matchers.h"

namespace fedtune::testing {
namespace {

constexpr int64_t kRounds = 4;
constexpr int64_t kQuorum = 2;
constexpr int kSeeds = 3000;
constexpr int kEvents = 400;

Digest AdapterOf(int64_t round) { return Sha256Of(fmt::format("adapter {}", round)); }

AdapterLayout Layout() {
  return *AdapterLayout::Create(
      {{.name = "q", .in_features = 3, .out_features = 2, .lora_rank = 1, .alpha = 1}});
}

// Plays the clients, the driver and the clock, and checks every effect.
class World {
 public:
  explicit World(uint64_t seed) : random_(seed) {
    for (int i = 0; i < 5; ++i) institutions_.push_back({fmt::format("clinic-{}", i)});
    plan_.rounds.count = kRounds;
    plan_.rounds.quorum = kQuorum;
    plan_.rounds.deadline = absl::Minutes(10);
    plan_.rounds.cohort_size = Chance(3) ? 3 : 0;
    plan_.rounds.close_at = Chance(3) ? 3 : 0;
    if (Chance(3)) {
      plan_.aggregation.method = AggregationMethod::kFedit;
      plan_.rounds.stragglers = Stragglers::kKeep;
      plan_.rounds.max_staleness = 1 + static_cast<int64_t>(random_() % 2);
      plan_.rounds.close_at = 2;
      plan_.rounds.asynchronous = Chance(2);
    }
    plan_.evaluation.every = static_cast<int64_t>(random_() % 3);
  }

  void Begin() {
    connected_ = {institutions_[0], institutions_[1], institutions_[2]};
    Effects effects;
    auto run = Run::Start({.id = {"run-1"},
                           .plan = plan_,
                           .layout = Layout(),
                           .adapter = AdapterOf(0),
                           .connected = {connected_.begin(), connected_.end()}},
                          now_, effects);
    ASSERT_THAT(run, IsOk());
    run_.emplace(*std::move(run));
    Watch(effects);
  }

  void Step() {
    const Institution& from = institutions_[random_() % institutions_.size()];
    if (Chance(40)) return Crash();
    switch (random_() % 13) {
      case 12:
        return Chance(3) ? SetPause(!paused_) : Nothing();
      case 0:
        return Connect(from);
      case 1:
        return Disconnect(from);
      case 2:
      case 3:
        return Send(from, RunAccepted{static_cast<int64_t>(1 + random_() % 100)});
      case 4:
        return Chance(8) ? Send(from, RunDeclined{"no"}) : Nothing();
      case 5:
        return Chance(3) ? Send(from, ClientFailed{Round(), run_->view().attempt, "failed"})
                         : Nothing();
      case 6:
        return Wait(absl::Seconds(random_() % 300));
      case 7:
        return Chance(200) ? Stop() : Nothing();
      case 8:
        return Release();
      default:
        return Contribute(from);
    }
  }

  // Lets everything run out: from here on only the clock and the driver act.
  void LetItEnd() {
    if (paused_) SetPause(false);
    for (int i = 0; i < 100 && !Ended(); ++i) {
      Release();
      if (run_->deadline().has_value()) Wait(*run_->deadline() - now_);
    }
    EXPECT_TRUE(Ended());
  }

  bool Ended() const {
    return run_->state() != RunState::kInviting && run_->state() != RunState::kRunning &&
           run_->state() != RunState::kPaused;
  }
  int64_t released() const { return released_; }
  RunState state() const { return run_->state(); }
  int64_t restarts() const { return restarts_; }
  int64_t pauses() const { return pauses_; }
  int64_t late() const { return late_; }
  int64_t lost() const { return lost_; }

 private:
  bool Chance(uint64_t one_in) { return random_() % one_in == 0; }
  int64_t Round() const { return run_->view().rounds_done; }
  void Nothing() {}

  void Send(const Institution& from, ClientEvent event) {
    if (connected_.contains(from)) Receive(from, std::move(event));
  }
  void Connect(const Institution& from) {
    connected_.insert(from);
    Receive(from, ClientConnected{});
  }
  void Disconnect(const Institution& from) {
    connected_.erase(from);
    Receive(from, ClientDisconnected{});
  }
  void Wait(absl::Duration time) {
    now_ += time;
    if (run_->deadline().has_value() && *run_->deadline() <= now_) journal_.Write(now_, TimeIsUp{});
    Watch(run_->Tick(now_));
  }
  void Stop() {
    journal_.Write(now_, RunEvent(StopRequested{"stop"}));
    Watch(run_->Receive(StopRequested{"stop"}, now_));
  }
  void SetPause(bool pause) {
    if (pause && !run_->CanPause()) return;  // As the driver answers.
    paused_ = pause;
    if (pause) {
      Watch(run_->Receive(PauseRequested{"maintenance"}, now_));
    } else {
      Watch(run_->Receive(ResumeRequested{}, now_));
    }
    if (run_->state() != RunState::kPaused) return;
    ++pauses_;
    EXPECT_EQ(run_->deadline(), std::nullopt);
  }
  void Receive(const Institution& from, ClientEvent event) {
    if (run_->Heeds(from, event)) journal_.Write(now_, ReceivedFromClient{from, event});
    Watch(run_->Receive(from, std::move(event), now_));
  }

  // The process ends, and another one goes on with what is stored.
  void Crash() {
    const RunView before = run_->view();
    if ((journal_.empty() && before.state != RunState::kPaused) || Ended()) return;
    const absl::Duration then = journal_.empty() ? now_ : journal_.last();
    connected_.clear();
    to_release_.reset();
    now_ += absl::Hours(3);
    ResumePoint point{.rounds_done = released_,
                      .clients = ClientsNow(before),
                      .journal = journal_.Restart(now_),
                      .pause = paused_ ? std::optional("maintenance") : std::nullopt};
    Effects effects;
    auto run = Run::Start({.id = {"run-1"},
                           .plan = plan_,
                           .layout = Layout(),
                           .adapter = AdapterOf(released_),
                           .connected = {},
                           .resume = std::move(point)},
                          now_, effects);
    ASSERT_THAT(run, IsOk()) << run.status();
    run_.emplace(*std::move(run));
    Watch(effects);
    ExpectAsBefore(before, then);
  }

  // Between two rounds what is late is stored with the release.
  std::vector<ResumePoint::Client> ClientsNow(const RunView& view) const {
    std::vector<ResumePoint::Client> clients = ClientsOf(view);
    if (!journal_.empty()) return clients;
    for (ResumePoint::Client& client : clients) {
      const auto late = between_.work.find(client.institution);
      if (late != between_.work.end()) client.work = late->second;
    }
    return clients;
  }

  void ExpectAsBefore(const RunView& before, absl::Duration then) {
    const RunView after = run_->view();
    EXPECT_EQ(after.phase, before.phase);
    EXPECT_EQ(after.state, before.state);
    EXPECT_EQ(after.pausing, before.pausing);
    EXPECT_EQ(after.attempt, before.attempt);
    EXPECT_EQ(after.rounds_done, before.rounds_done);
    EXPECT_EQ(after.deadline.has_value(), before.deadline.has_value());
    if (after.phase == RunPhase::kEvaluating) {
      EXPECT_LE(*after.deadline - now_, absl::Minutes(2)) << "those who are away are soon given up";
    } else if (after.deadline.has_value()) {
      EXPECT_EQ(*after.deadline - now_, *before.deadline - then);
    }
    ASSERT_EQ(after.clients.size(), before.clients.size());
    for (size_t i = 0; i < after.clients.size(); ++i) {
      EXPECT_EQ(after.clients[i].institution, before.clients[i].institution);
      EXPECT_EQ(after.clients[i].awaited, before.clients[i].awaited);
      EXPECT_EQ(after.clients[i].accepted, before.clients[i].accepted);
      EXPECT_EQ(after.clients[i].example_count, before.clients[i].example_count);
    }
    ++restarts_;
  }

  void Contribute(const Institution& from) {
    const RunView view = run_->view();
    const FactorSet factors = TrainedFactors(plan_.aggregation.method, Round());
    // What it was asked for last, or what everyone is.
    const auto work = asked_.find(from);
    const bool own = work != asked_.end() && Chance(2);
    const int64_t round = own ? work->second.round : Round();
    const ContributionHeader header = {
        .round = round,
        .attempt = own ? work->second.attempt : view.attempt,
        .adapter = AdapterOf(round),
        .layout = Sha256Of(Layout().ToJson()),
        .factors = static_cast<uint32_t>(factors),
        .size_bytes = view.phase == RunPhase::kEvaluating
                          ? 0
                          : 4 * static_cast<uint64_t>(Layout().parameter_count(factors))};
    const auto admission = run_->CheckContribution(from, header);
    if (!admission.ok() || admission->repeated) return;
    EXPECT_TRUE(summed_.insert(from).second) << from.value << " counts twice";
    EXPECT_EQ(admission->late, round < Round() || header.attempt < view.attempt);
    taken_.insert({from, round});
    EXPECT_FALSE(counted_.contains({from, round}))
        << from.value << " counts twice for round " << round;
    late_ += admission->late ? 1 : 0;
    Receive(from, ContributionTaken{header});
  }

  void Release() {
    if (!to_release_.has_value()) return;
    if (Chance(5)) return LoseOne();
    counted_.merge(taken_);
    const int64_t round = *std::exchange(to_release_, std::nullopt);
    EXPECT_EQ(round, released_++) << "every round has exactly one successor";
    journal_.Clear();
    Watch(run_->Receive(Released{round, AdapterOf(round + 1)}, now_));
  }

  // One of the contributions cannot be read when it is to be summed.
  void LoseOne() {
    to_release_.reset();
    const Institution from =
        *std::next(summed_.begin(), static_cast<std::ptrdiff_t>(random_() % summed_.size()));
    summed_.erase(from);
    std::erase_if(taken_, [&](const auto& taken) { return taken.first == from; });
    const RunEvent lost = ContributionsLost{{from}};
    journal_.Write(now_, lost);
    ++lost_;
    Watch(run_->Receive(lost, now_));
  }

  void Watch(const Effects& effects) {
    journal_.Follow(now_, effects);
    for (const Effect& effect : effects) {
      EXPECT_FALSE(ended_ && !std::holds_alternative<TellRunEnded>(effect)) << "after the end";
      std::visit([&](const auto& e) { See(e); }, effect);
    }
  }

  void See(const Invite& e) { EXPECT_TRUE(connected_.contains(e.institution)); }
  void See(const CloseRound& e) { EXPECT_TRUE(connected_.contains(e.institution)); }
  void See(const TellRunPaused& e) {
    EXPECT_TRUE(connected_.contains(e.institution));
    EXPECT_EQ(e.paused, paused_);
  }
  void See(const TellRunEnded& e) { EXPECT_TRUE(connected_.contains(e.institution)); }
  void See(const Assign& e) {
    EXPECT_TRUE(connected_.contains(e.institution));
    EXPECT_EQ(e.assignment.adapter, AdapterOf(e.assignment.round));
    const bool keeps = plan_.rounds.stragglers == Stragglers::kKeep;
    EXPECT_LE(e.assignment.round, released_);
    EXPECT_LE(released_ - e.assignment.round, keeps ? plan_.rounds.max_staleness : 0);
    asked_[e.institution] = e.assignment;
    EXPECT_GT(e.assignment.time_left, absl::ZeroDuration());
    EXPECT_EQ(e.assignment.evaluate_only, released_ == kRounds);
  }
  void See(const SendSecureMessage&) { ADD_FAILURE() << "the run is a plain one"; }
  void See(const ReportFault& e) {
    ASSERT_TRUE(e.back_in_round.has_value()) << "the run is a plain one";
    EXPECT_GT(*e.back_in_round, released_);
  }
  void See(const ReportSuspect&) { ADD_FAILURE() << "the run is a plain one"; }
  void See(const OpenAggregation& e) {
    EXPECT_EQ(e.round, released_);
    EXPECT_LE(e.attempt, 2);
    if (e.restored) return;
    EXPECT_TRUE(!paused_ || e.attempt > 1) << "a round is opened in a pause";
    summed_.clear();
    taken_.clear();
  }
  void See(const fedtune::Release& e) {
    EXPECT_EQ(e.summary.contributions, static_cast<int64_t>(summed_.size()));
    EXPECT_GE(e.summary.contributions, kQuorum);
    EXPECT_EQ(e.incoming, AdapterOf(released_));
    EXPECT_FALSE(to_release_.has_value());
    to_release_ = e.round;
    between_ = e.between;
  }
  void See(const EndRun& e) {
    EXPECT_FALSE(std::exchange(ended_, true)) << "ends once";
    if (e.state == RunState::kFinished) {
      EXPECT_EQ(released_, kRounds);
      EXPECT_TRUE(e.reason.empty() || e.reason.starts_with("the final evaluation is missing"));
    } else {
      EXPECT_FALSE(e.reason.empty());
    }
  }

  std::mt19937_64 random_;
  std::vector<Institution> institutions_;
  Plan plan_;
  absl::Duration now_ = absl::Hours(1);
  std::optional<Run> run_;
  std::set<Institution> connected_;
  std::set<Institution> summed_;  // Into the open attempt.
  std::map<Institution, RoundAssignment> asked_;
  std::set<std::pair<Institution, int64_t>> taken_;    // In this attempt: who, and of which round.
  std::set<std::pair<Institution, int64_t>> counted_;  // The same of all that were released.
  int64_t late_ = 0;
  int64_t lost_ = 0;
  std::optional<int64_t> to_release_;  // A release the driver is to make.
  BetweenRounds between_;              // Of the last one.
  int64_t released_ = 0;
  bool ended_ = false;
  bool paused_ = false;  // As an administrator wants it.
  int64_t pauses_ = 0;
  RunJournal journal_;
  int64_t restarts_ = 0;
};

TEST(RunChaosTest, KeepsItsPromisesInRandomHistories) {
  std::map<RunState, int> ends;
  int64_t restarts = 0;
  int64_t pauses = 0;
  int64_t late = 0;
  int64_t lost = 0;
  for (int seed = 0; seed < kSeeds; ++seed) {
    SCOPED_TRACE(fmt::format("seed {}", seed));
    World world(static_cast<uint64_t>(seed));
    world.Begin();
    for (int event = 0; event < kEvents && !world.Ended(); ++event) world.Step();
    world.LetItEnd();
    ++ends[world.state()];
    restarts += world.restarts();
    pauses += world.pauses();
    late += world.late();
    lost += world.lost();
    if (HasFailure()) return;
  }
  // The histories are worth something: every kind of end occurs.
  EXPECT_GT(ends[RunState::kFinished], 100);
  EXPECT_GT(ends[RunState::kFailed], 100);
  EXPECT_GT(ends[RunState::kStopped], 50);
  EXPECT_GT(restarts, kSeeds);
  EXPECT_GT(pauses, kSeeds / 2);
  EXPECT_GT(late, kSeeds / 20);
  EXPECT_GT(lost, kSeeds / 20);
}

}  // namespace
}  // namespace fedtune::testing
