// SPDX-License-Identifier: Apache-2.0

// For stories of what a client does: what it is told, and its duties as lines of text.

#pragma once

#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/time/civil_time.h"
#include "absl/time/time.h"
#include "client/round/client_state.h"
#include "fmt/format.h"
#include "fmt/ranges.h"
#include "gtest/gtest.h"

namespace fedtune::testing {

using Runs = std::vector<std::string>;

// Two runs that a hospital takes part in.
inline constexpr char kIcd[] = "run-1cd1";
inline constexpr char kNotes[] = "run-0072";

inline constexpr absl::Duration kSecond = absl::Seconds(1);

inline constexpr char kLooks[] = "look at the log";

inline AttemptId Round(int64_t round, int64_t attempt = 1, std::string run = kIcd) {
  return {.run = std::move(run), .round = round, .attempt = attempt};
}

inline std::string Text(const AttemptId& id) {
  return fmt::format("{} {}.{}", id.run, id.round, id.attempt);
}

inline std::string Text(const Reply& reply) {
  if (const auto* answer = std::get_if<InvitationAnswer>(&reply)) {
    return answer->accepted ? fmt::format("accept {}", answer->run)
                            : fmt::format("decline {}: {}", answer->run, answer->reason);
  }
  if (const auto* failed = std::get_if<AttemptFailed>(&reply)) {
    std::string failure = fmt::format("failed {}: {}", Text(failed->id), failed->reason);
    if (failed->agreed_rounds == 0) return failure;
    return failure + fmt::format(", agreed in {} rounds", failed->agreed_rounds);
  }
  const auto& progress = std::get<WorkProgress>(reply);
  const std::string what =
      progress.note.empty() ? fmt::format("{}", progress.fraction) : progress.note;
  return fmt::format("{} {}: {}", ToString(progress.phase), Text(progress.id), what);
}

// A duty in one line, so that stories read as such.
inline std::string Text(const Duty& duty) {
  if (const auto* reply = std::get_if<SendReply>(&duty)) return Text(reply->reply);
  if (const auto* study = std::get_if<Study>(&duty)) return "study " + study->invitation.run;
  if (const auto* train = std::get_if<Train>(&duty)) return "train " + Text(train->assignment.id);
  if (const auto* submit = std::get_if<Submit>(&duty)) return "submit " + Text(submit->id);
  if (const auto* forget = std::get_if<Forget>(&duty)) return "forget " + forget->run;
  if (const auto* answer = std::get_if<Answer>(&duty)) {
    return fmt::format("answer {} in {}", answer->message[0], Text(answer->assignment.id));
  }
  if (const auto* end = std::get_if<EndAggregation>(&duty)) return "end aggregation " + end->run;
  if (const auto* only = std::get_if<KeepOnly>(&duty)) {
    return fmt::format("keep only [{}]", fmt::join(only->runs, " "));
  }
  if (const auto* stop = std::get_if<StopSubmitting>(&duty))
    return "stop submitting " + Text(stop->id);
  if (std::holds_alternative<LookAtLog>(duty)) return kLooks;
  if (std::holds_alternative<StopTraining>(duty)) return "stop";
  if (std::holds_alternative<PauseTraining>(duty)) return "pause";
  return "resume";
}

// A hospital's client whose clock the story moves.
class ClientStateTest : public ::testing::Test {
 protected:
  explicit ClientStateTest(Hours hours = {}) : client_(hours, absl::UTCTimeZone()) {}

  template <typename Input>
  std::vector<std::string> After(const Input& input) {
    return Lines(client_.Receive(input, now_));
  }

  void Pass(absl::Duration time) {
    now_.time_of_day += time;
    now_.monotonic += time;
  }
  std::vector<std::string> AfterTime(absl::Duration passed) {
    Pass(passed);
    return Lines(client_.Tick(now_));
  }

  std::vector<std::string> Welcomed(std::optional<Runs> under_way) {
    std::vector<std::string> lines = WelcomedAndLooking(std::move(under_way));
    std::erase(lines, kLooks);
    return lines;
  }
  // With the duty to look at the coordinator's log, which most stories are not about.
  std::vector<std::string> WelcomedAndLooking(std::optional<Runs> under_way) {
    return Lines(client_.Welcomed({.runs_under_way = std::move(under_way)}, now_));
  }
  std::vector<std::string> WelcomedByAnOlderCoordinator() { return Welcomed(std::nullopt); }
  std::vector<std::string> Invited(const std::string& run = kIcd) {
    return After(Instruction(Invitation{.run = run, .plan_toml = "name = \"icd\""}));
  }
  std::vector<std::string> StudiedAndAccepted(const std::string& run = kIcd) {
    return After(Report(Studied{{.run = run, .accepted = true, .example_count = 100}}));
  }
  std::vector<std::string> Assigned(const AttemptId& id) {
    return After(Instruction(Assignment{.id = id}));
  }
  // As a coordinator asks that was restored and has made other adapters since.
  std::vector<std::string> AssignedFromAnotherAdapter(const AttemptId& id) {
    return After(Instruction(Assignment{.id = id, .adapter = Sha256Of("another")}));
  }
  std::vector<std::string> TrainedWith(const AttemptId& id, absl::Status status) {
    return After(Report(Trained{id, std::move(status)}));
  }
  std::vector<std::string> SubmittedWith(const AttemptId& id, absl::Status status) {
    return After(Report(Submitted{id, std::move(status)}));
  }
  std::vector<std::string> Closed(const AttemptId& id) {
    return After(Instruction(RoundOver{id, "deadline"}));
  }
  std::vector<std::string> Ended(const std::string& run = kIcd) {
    return After(Instruction(RunOver{run, "finished", ""}));
  }
  std::vector<std::string> At(const AttemptId& id, double fraction) {
    return After(
        Report(Progressed{{.id = id, .phase = WorkPhase::kTraining, .fraction = fraction}}));
  }

  void Accept(const std::string& run = kIcd) {
    Invited(run);
    StudiedAndAccepted(run);
  }

  ClientState client_;
  Moment now_{.time_of_day = absl::FromCivil(absl::CivilHour(2026, 3, 1, 12), absl::UTCTimeZone()),
              .monotonic = absl::Hours(1000)};

 private:
  static std::vector<std::string> Lines(const Duties& duties) {
    std::vector<std::string> lines;
    for (const Duty& duty : duties) lines.push_back(Text(duty));
    return lines;
  }
};

}  // namespace fedtune::testing
