// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "coordinator/rounds/run.h"
#include "fmt/format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/effect_text.h"
#include "tests/support/status_matchers.h"

namespace fedtune::testing {

inline const Institution kCharite{"charite"};
inline const Institution kUke{"uke"};
inline const Institution kHelios{"helios"};
inline const Institution kStAnna{"st-anna"};

// A run of three rounds with a quorum of two, deadline an hour, weights by
// examples, B and A in turn, told by what the institutions do. Each call moves
// no time; Advance() does.
class RunTest : public ::testing::Test {
 protected:
  RunTest() {
    plan_.rounds.count = 3;
    plan_.rounds.quorum = 2;
    plan_.rounds.deadline = absl::Hours(1);
    plan_.training.steps = 1;
    plan_.aggregation.mode = AggregationMode::kPlain;
  }

  AdapterLayout Layout() const {
    return *AdapterLayout::Create(
        {{.name = "q", .in_features = 6, .out_features = 4, .lora_rank = 2, .alpha = 4}});
  }
  static Digest AdapterOf(int64_t round) { return Sha256Of(fmt::format("adapter {}", round)); }

  fedtune::Run::Options Options(std::vector<Institution> connected) const {
    return {.id = {"run-1"},
            .plan = plan_,
            .layout = Layout(),
            .adapter = AdapterOf(0),
            .connected = std::move(connected)};
  }

  std::vector<std::string> Start(std::vector<Institution> connected) {
    return Start(Options(std::move(connected)));
  }
  std::vector<std::string> Start(fedtune::Run::Options options) {
    Effects effects;
    absl::StatusOr<fedtune::Run> run = fedtune::Run::Start(std::move(options), now_, effects);
    EXPECT_THAT(run, IsOk()) << run.status();
    run_.emplace(*std::move(run));
    return Lines(effects);
  }

  // Starts with these, who all accept.
  void StartWith(const std::vector<Institution>& institutions) {
    Start(institutions);
    for (const Institution& institution : institutions) Accept(institution);
  }

  std::vector<std::string> Does(const Institution& from, ClientEvent event) {
    return Lines(run_->Receive(from, std::move(event), now_));
  }
  std::vector<std::string> Accept(const Institution& from, int64_t examples = 100) {
    return Does(from, RunAccepted{examples});
  }
  std::vector<std::string> Contribute(const Institution& from) {
    const ContributionHeader header = Header(from);
    EXPECT_THAT(run_->CheckContribution(from, header), IsOk())
        << run_->CheckContribution(from, header).status();
    return Does(from, ContributionTaken{header});
  }
  std::vector<std::string> Fail(const Institution& from) {
    return Does(from,
                ClientFailed{run_->view().rounds_done, run_->view().attempt, "out of memory"});
  }
  std::vector<std::string> ReleaseDone() {
    const int64_t round = run_->view().rounds_done;
    return Lines(run_->Receive(Released{round, AdapterOf(round + 1)}, now_));
  }
  std::vector<std::string> Advance(absl::Duration by) {
    now_ += by;
    return Lines(run_->Tick(now_));
  }

  // What `from` would send for the round that is open.
  ContributionHeader Header(const Institution& from) const {
    const RunView view = run_->view();
    const bool b = view.rounds_done % 2 == 0;
    const bool evaluates = view.phase == RunPhase::kEvaluating;
    ClientMetrics metrics{.training_loss = 1};
    if (evaluates) metrics.before = EvaluationResult{.loss = 1, .example_count = 1};
    return {.round = view.rounds_done,
            .attempt = view.attempt,
            .adapter = view.adapter,
            .layout = Sha256Of(Layout().ToJson()),
            .factors = b ? 2u : 1u,
            .size_bytes = evaluates ? 0u : 4u * (b ? 8 : 12),
            .sha256 = Sha256Of(fmt::format("{} {} {}", from.value, view.rounds_done, view.attempt)),
            .metrics = std::move(metrics)};
  }

  ClientView ViewOf(const Institution& institution) const {
    for (ClientView& client : run_->view().clients) {
      if (client.institution == institution) return client;
    }
    ADD_FAILURE() << institution.value << " is not in the run";
    return {};
  }

  static std::vector<std::string> Lines(const Effects& effects) {
    std::vector<std::string> lines;
    for (const Effect& effect : effects) lines.push_back(ToText(effect));
    return lines;
  }

  Plan plan_;
  absl::Duration now_ = absl::Hours(100);
  std::optional<fedtune::Run> run_;
};

}  // namespace fedtune::testing
