// SPDX-License-Identifier: Apache-2.0

#include "cli/log_order.h"

#include <variant>

#include "base/printable_text.h"
#include "fmt/format.h"

namespace fedtune {
namespace {

std::string NameOf(const std::string& run) { return PrintableText(run); }

std::string RoundOf(int64_t round, const std::string& run) {
  return fmt::format("round {} of {}", round + 1, NameOf(run));
}

}  // namespace

std::optional<std::string> LogOrder::Follow(const LogEvent& event) {
  const bool is_first = std::exchange(is_empty_, false);
  if (!is_first && !TellsWhereARunIs(event)) is_beginning_ = false;
  Contradiction found = std::visit([this](const auto& one) { return Take(one); }, event);
  if (std::holds_alternative<LogBegun>(event) == is_first) return found;
  return is_first ? "it is the first, and not that the log begins" : "the log begins a second time";
}

bool LogOrder::TellsWhereARunIs(const LogEvent& event) const {
  const auto* opened = std::get_if<RoundOpened>(&event);
  if (opened == nullptr) return std::holds_alternative<RunStarted>(event);
  const auto run = runs_.find(opened->run);
  return run != runs_.end() && run->second.is_new;
}

LogOrder::Contradiction LogOrder::Take(const LogBegun& /*event*/) { return std::nullopt; }

LogOrder::Contradiction LogOrder::Take(const RunStarted& event) {
  const auto [place, is_new] = runs_.try_emplace(event.run);
  if (!is_new) return fmt::format("{} is started a second time", NameOf(event.run));
  Course& course = place->second;
  course.initial_adapter = event.adapter;
  if (is_beginning_) return std::nullopt;
  GoTo(course, 0);
  course.adapter = event.adapter;
  return std::nullopt;
}

LogOrder::Contradiction LogOrder::Take(const RoundOpened& event) {
  Contradiction found = CheckUnderWay(event.run);
  Course& course = CourseOf(event.run);
  if (!found.has_value()) found = CheckOpened(course, event);
  GoTo(course, event.round);
  course.attempts = event.attempt;
  course.adapter = event.adapter;
  return found;
}

LogOrder::Contradiction LogOrder::Take(const ContributionCounted& event) {
  Contradiction found = CheckUnderWay(event.run);
  Course& course = CourseOf(event.run);
  if (!found.has_value()) found = CheckRound(course, event.run, event.round);
  if (!course.rounds_done.has_value()) course.rounds_done = event.round;
  if (course.rounds_done != event.round) GoTo(course, event.round);
  if (course.counted.insert(event.institution).second || found.has_value()) return found;
  return fmt::format("{} is counted twice in {}", PrintableText(event.institution),
                     RoundOf(event.round, event.run));
}

LogOrder::Contradiction LogOrder::Take(const RoundReleased& event) {
  Contradiction found = CheckUnderWay(event.run);
  Course& course = CourseOf(event.run);
  if (!found.has_value()) found = CheckReleased(course, event);
  GoTo(course, event.round + 1);
  course.adapter = event.adapter;
  ++released_;
  if (!event.burnt.empty()) ++burnt_;
  return found;
}

LogOrder::Contradiction LogOrder::Take(const RunClosed& event) {
  Contradiction found = TakeWithin(event.run);
  Course& course = CourseOf(event.run);
  if (!found.has_value() && !course.counted.empty()) {
    found =
        fmt::format("{} ends with contributions that are counted in no release", NameOf(event.run));
  }
  course.counted.clear();
  course.has_ended = true;
  course.has_finished = event.state == "finished";
  return found;
}

LogOrder::Contradiction LogOrder::Take(const RunReopened& event) {
  const auto known = runs_.find(event.run);
  if (known == runs_.end()) {
    CourseOf(event.run);
    return fmt::format("{} is reopened, and was never started", NameOf(event.run));
  }
  Course& course = known->second;
  const bool was_new = std::exchange(course.is_new, false);
  if (was_new) {
    course.rounds_done.reset();
    course.attempts.reset();
    course.adapter.reset();
    return std::nullopt;
  }
  if (!std::exchange(course.has_ended, false)) {
    return fmt::format("{} is reopened, and had not ended", NameOf(event.run));
  }
  if (!course.has_finished) return std::nullopt;
  return fmt::format("{} is reopened, and had finished", NameOf(event.run));
}

LogOrder::Contradiction LogOrder::TakeWithin(const std::string& run) {
  Contradiction found = CheckUnderWay(run);
  CourseOf(run);
  return found;
}

LogOrder::Contradiction LogOrder::CheckUnderWay(const std::string& run) const {
  const auto known = runs_.find(run);
  if (known == runs_.end()) return fmt::format("{} was never started", NameOf(run));
  if (known->second.has_ended) return fmt::format("{} had ended", NameOf(run));
  return std::nullopt;
}

LogOrder::Course& LogOrder::CourseOf(const std::string& run) {
  Course& course = runs_[run];
  course.is_new = false;
  return course;
}

LogOrder::Contradiction LogOrder::CheckRound(const Course& course, const std::string& run,
                                             int64_t round) {
  if (!course.rounds_done.has_value() || round == *course.rounds_done) return std::nullopt;
  if (round < *course.rounds_done) {
    return fmt::format("{} was over, and round {} is the next", RoundOf(round, run),
                       *course.rounds_done + 1);
  }
  return fmt::format("{} comes before round {}, which is the next", RoundOf(round, run),
                     *course.rounds_done + 1);
}

LogOrder::Contradiction LogOrder::CheckOpened(const Course& course, const RoundOpened& event) {
  Contradiction found = CheckRound(course, event.run, event.round);
  if (found.has_value()) return found;
  const std::string name = RoundOf(event.round, event.run);
  if (!course.counted.empty()) {
    return fmt::format("{} is opened with contributions that are counted in no release", name);
  }
  if (event.attempt <= course.attempts.value_or(0)) {
    return fmt::format("attempt {} at {} follows on attempt {}", event.attempt, name,
                       *course.attempts);
  }
  // Of a run that the log has from its first round on, whenever that began.
  const std::optional<Digest> before =
      !course.rounds_done.has_value() && event.round == 0 ? course.initial_adapter : course.adapter;
  if (event.adapter == before.value_or(event.adapter)) return std::nullopt;
  return fmt::format("{} starts from {}, and the run's adapter was {}", name,
                     event.adapter.ToString(), before->ToString());
}

LogOrder::Contradiction LogOrder::CheckReleased(const Course& course, const RoundReleased& event) {
  Contradiction found = CheckRound(course, event.run, event.round);
  if (found.has_value()) return found;
  const std::string name = RoundOf(event.round, event.run);
  const int64_t opened = course.attempts.value_or(event.attempt);
  const bool has_burnt = !event.burnt.empty();
  if (opened == 0 && !has_burnt) return fmt::format("{} is released, and was never opened", name);
  if (has_burnt ? event.attempt < opened : event.attempt != opened) {
    return fmt::format("attempt {} at {} is released, and attempt {} was opened last",
                       event.attempt, name, opened);
  }
  // Of a burnt one they need not be named: none of them has counted.
  if ((!has_burnt || !course.counted.empty()) &&
      std::ssize(course.counted) != event.contributions) {
    return fmt::format("{} is released with {} contributions, and {} were counted", name,
                       event.contributions, course.counted.size());
  }
  if (!has_burnt || event.adapter == course.adapter.value_or(event.adapter)) return std::nullopt;
  return fmt::format("{} burnt, and leaves {} where {} was", name, event.adapter.ToString(),
                     course.adapter->ToString());
}

void LogOrder::GoTo(Course& course, int64_t round) {
  course.rounds_done = round;
  course.attempts = 0;
  course.adapter.reset();
  course.counted.clear();
}

}  // namespace fedtune
