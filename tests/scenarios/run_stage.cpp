// SPDX-License-Identifier: Apache-2.0

#include "tests/scenarios/run_stage.h"

#include <cstdlib>
#include <map>
#include <utility>

#include "absl/strings/str_split.h"
#include "base/status.h"
#include "base/units.h"
#include "fmt/format.h"
#include "tests/support/effect_text.h"

namespace fedtune::testing {
namespace {

using Lines = std::vector<std::string>;

Lines ToLines(const Effects& effects) {
  Lines lines;
  for (const Effect& effect : effects) lines.push_back(ToText(effect));
  return lines;
}

int64_t Number(const std::string& text) { return std::atoll(text.c_str()); }

absl::Duration Time(const std::string& text) {
  absl::Duration time;
  absl::ParseDuration(text, &time);
  return time;
}

AdapterLayout Layout() {
  return *AdapterLayout::Create(
      {{.name = "q", .in_features = 6, .out_features = 4, .lora_rank = 2, .alpha = 4}});
}

Digest AdapterOf(int64_t round) { return Sha256Of(fmt::format("adapter {}", round)); }

ReportedPhase PhaseOf(const std::string& name) {
  if (name == "downloading") return ReportedPhase::kDownloading;
  if (name == "evaluating") return ReportedPhase::kEvaluating;
  if (name == "training") return ReportedPhase::kTraining;
  if (name == "uploading") return ReportedPhase::kUploading;
  return ReportedPhase::kWaiting;
}

std::string Shown(const EvaluationSummary& evaluation) {
  return fmt::format("after {} rounds: loss {:.3f}, accuracy {:.3f}, {} records", evaluation.round,
                     evaluation.loss, evaluation.accuracy.value_or(0), evaluation.example_count);
}

std::string Shown(const ClientView& client) {
  std::string line = fmt::format("  {}: {}", client.institution.value, ToString(client.state));
  if (client.fraction > 0) line += fmt::format(" {:.0f} %", 100 * client.fraction);
  line += fmt::format(", {} records, {} rounds", client.example_count, client.rounds_contributed);
  return client.reason.empty() ? line : fmt::format("{} ({})", line, client.reason);
}

}  // namespace

Lines RunStage::Play(const Command& command) {
  const std::string& verb = command.verb;
  if (verb.empty()) return {};
  if (verb == "plan") return MakePlan(command);
  if (verb == "start") return Start(std::nullopt);
  if (!run_.has_value() && verb == "connect") {
    for (const std::string& name : command.words) connected_.push_back({name});
    return {};
  }
  if (!run_.has_value()) return {fmt::format("no run has started: {}", verb)};
  if (verb == "connect" || verb == "disconnect" || verb == "accept" || verb == "contribute" ||
      verb == "fail") {
    return PlayForEach(command);
  }
  return PlayOnRun(command);
}

Lines RunStage::PlayForEach(const Command& command) {
  Lines lines;
  for (const std::string& name : command.words) {
    const Institution from{name};
    Lines more;
    if (command.verb == "connect") {
      more = Send(from, ClientConnected{});
    } else if (command.verb == "disconnect") {
      more = Send(from, ClientDisconnected{});
    } else if (command.verb == "accept") {
      more = Send(from, RunAccepted{Number(command.Setting("examples", "100"))});
    } else if (command.verb == "contribute") {
      more = Contribute(from, command);
    } else {
      const RunView view = run_->view();
      more = Send(from, ClientFailed{view.rounds_done, view.attempt,
                                     command.Setting("reason", "out-of-memory")});
    }
    lines.insert(lines.end(), more.begin(), more.end());
  }
  return lines;
}

Lines RunStage::PlayOnRun(const Command& command) {
  const std::string& verb = command.verb;
  const int64_t round = run_->view().rounds_done;
  if (verb == "decline" && !command.words.empty()) {
    return Send({command.words[0]}, RunDeclined{command.Text(1)});
  }
  if (verb == "progress" && command.words.size() == 3) {
    return Send({command.words[0]},
                ProgressReported{.round = round,
                                 .attempt = run_->view().attempt,
                                 .phase = PhaseOf(command.words[1]),
                                 .fraction = std::atof(command.words[2].c_str())});
  }
  if (verb == "advance") {
    now_ += Time(command.Text(0));
    if (run_->deadline().has_value() && *run_->deadline() <= now_) {
      journal_.Write(now_, TimeIsUp{});
    }
    return Follow(run_->Tick(now_));
  }
  if (verb == "released") {
    journal_.Clear();
    return Follow(run_->Receive(Released{round, AdapterOf(round + 1)}, now_));
  }
  if (verb == "release-failed") return Send(ReleaseFailed{command.Text(0)});
  if (verb == "stop") return Send(StopRequested{command.Text(0)});
  if (verb == "restart") return Restart();
  if (verb == "status") return Status();
  return {fmt::format("no such command: {}", verb)};
}

Lines RunStage::MakePlan(const Command& command) {
  plan_ = {};
  plan_.name = "scenario";
  plan_.training.steps = 1;
  plan_.rounds.count = Number(command.Setting("rounds", "3"));
  plan_.rounds.quorum = Number(command.Setting("quorum", "2"));
  plan_.rounds.cohort_size = Number(command.Setting("cohort", "0"));
  plan_.rounds.deadline = Time(command.Setting("deadline", "1h"));
  if (const std::string names = command.Setting("institutions", ""); !names.empty()) {
    plan_.rounds.institutions = absl::StrSplit(names, ',');
  }
  plan_.evaluation.every = Number(command.Setting("every", "0"));
  if (command.Setting("method", "alternating") == "fedit") {
    plan_.aggregation.method = AggregationMethod::kFedit;
  }
  if (command.Setting("weights", "examples") == "uniform") {
    plan_.aggregation.weights = ContributionWeights::kUniform;
  }
  return {};
}

Lines RunStage::Start(std::optional<ResumePoint> resume) {
  Effects effects;
  auto run = Run::Start({.id = {"run-1"},
                         .plan = plan_,
                         .layout = Layout(),
                         .adapter = AdapterOf(resume.has_value() ? resume->rounds_done : 0),
                         .connected = connected_,
                         .resume = std::move(resume)},
                        now_, effects);
  if (!run.ok()) return {fmt::format("not started: {}", Message(run.status()))};
  run_.emplace(*std::move(run));
  return Follow(effects);
}

Lines RunStage::Restart() {
  const RunView view = run_->view();
  ResumePoint point{.rounds_done = view.rounds_done,
                    .attempts_opened = view.attempt,
                    .clients = ClientsOf(view),
                    .last_round = view.last_round,
                    .first_evaluation = view.first_evaluation,
                    .last_evaluation = view.last_evaluation,
                    .journal = journal_.Restart(now_)};
  connected_.clear();
  return Start(std::move(point));
}

Lines RunStage::Contribute(const Institution& from, const Command& command) {
  const ContributionHeader header = HeaderOf(from, command);
  const auto admission = run_->CheckContribution(from, header);
  if (!admission.ok()) {
    return {fmt::format("refuse {}: {}", from.value, Message(admission.status()))};
  }
  if (admission->repeated) return {fmt::format("repeated {}", from.value)};
  Lines lines = {fmt::format("take {} with weight {}", from.value, admission->weight)};
  const Lines more = Send(from, ContributionTaken{header});
  lines.insert(lines.end(), more.begin(), more.end());
  return lines;
}

ContributionHeader RunStage::HeaderOf(const Institution& from, const Command& command) const {
  const RunView view = run_->view();
  const int64_t round = Number(command.Setting("round", fmt::format("{}", view.rounds_done)));
  const int64_t attempt = Number(command.Setting("attempt", fmt::format("{}", view.attempt)));
  const FactorSet factors = TrainedFactors(plan_.aggregation.method, round);
  const double loss = std::atof(command.Setting("loss", "1").c_str());
  const double accuracy = std::atof(command.Setting("accuracy", "0.5").c_str());
  return {.round = round,
          .attempt = attempt,
          .adapter = AdapterOf(round),
          .layout = Sha256Of(Layout().ToJson()),
          .factors = static_cast<uint32_t>(factors),
          .size_bytes = view.phase == RunPhase::kEvaluating
                            ? 0
                            : 4 * static_cast<uint64_t>(Layout().parameter_count(factors)),
          .sha256 = Sha256Of(fmt::format("{} {} {}", from.value, round, attempt)),
          .metrics = {.training_loss = loss,
                      .before = {{.loss = loss, .accuracy = accuracy, .example_count = 10}}}};
}

Lines RunStage::Send(const Institution& from, ClientEvent event) {
  if (run_->Heeds(from, event)) journal_.Write(now_, ReceivedFromClient{from, event});
  return Follow(run_->Receive(from, std::move(event), now_));
}

Lines RunStage::Send(RunEvent event) {
  journal_.Write(now_, event);
  return Follow(run_->Receive(std::move(event), now_));
}

Lines RunStage::Follow(const Effects& effects) {
  journal_.Follow(now_, effects);
  return ToLines(effects);
}

Lines RunStage::Status() const {
  const RunView view = run_->view();
  std::string head = fmt::format("{}, {} of {} rounds done", ToString(view.state), view.rounds_done,
                                 view.round_count);
  if (view.attempt > 0) head += fmt::format(", attempt {}", view.attempt);
  if (view.deadline.has_value()) {
    head += fmt::format(", {} left", HumanDuration(*view.deadline - now_));
  }
  Lines lines = {head + Because(view.reason)};
  for (const ClientView& client : view.clients) lines.push_back(Shown(client));
  if (view.first_evaluation.has_value()) {
    lines.push_back(fmt::format("  first evaluation {}", Shown(*view.first_evaluation)));
    lines.push_back(fmt::format("  last evaluation {}", Shown(*view.last_evaluation)));
  }
  return lines;
}

}  // namespace fedtune::testing
