// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "base/logging.h"
#include "client/round/client_daemon.h"
#include "fmt/format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/fake_clock.h"
#include "tests/support/status_matchers.h"

namespace fedtune::testing {

inline constexpr char kRun[] = "run-1cd1";

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
  FakeClock clock_;
};

inline void AwaitStop(const std::stop_token& stop) {
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
    if (!secure) {
      return link.Submit(std::make_shared<const Contribution>(Contribution{.id = id}),
                         std::move(stop));
    }
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

class ClientDaemonFixture : public ::testing::Test {
 protected:
  ClientDaemonFixture()
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

}  // namespace fedtune::testing
