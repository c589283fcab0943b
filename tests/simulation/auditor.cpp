// SPDX-License-Identifier: Apache-2.0

#include "tests/simulation/auditor.h"

#include <algorithm>
#include <cstring>
#include <memory>

#include "aggregation/adapter_bytes.h"
#include "aggregation/masked_vector.h"
#include "aggregation/weighted_sum.h"
#include "base/check.h"
#include "base/status.h"
#include "base/status_macros.h"
#include "coordinator/driver/run_overview.h"
#include "coordinator/rpc/training_conversion.h"
#include "fmt/format.h"
#include "plan/routing_shape.h"
#include "plan/secure_session.h"
#include "plan/server_step.h"
#include "privacy/secure_aggregation/messages.h"
#include "tests/simulation/federation.h"

namespace fedtune::simulation {
namespace {

constexpr absl::Duration kSlack = absl::Seconds(30);

std::string Name(int64_t round, int64_t attempt) {
  return fmt::format("round {} attempt {}", round, attempt);
}

Plan Parsed(const std::string& toml) {
  const absl::StatusOr<Plan> plan = ParsePlan(toml, "plan.toml");
  Check(plan.ok(), Message(plan.status()));
  return *plan;
}

Bytes BytesOf(const std::string& text) { return {text.begin(), text.end()}; }

// Adds in the ring.
void AddTo(std::vector<uint32_t>& sum, const std::vector<uint32_t>& elements, RingBits ring) {
  const auto bits = static_cast<int>(ring);
  const uint32_t mask = bits == 32 ? UINT32_MAX : (1U << bits) - 1;
  sum.resize(elements.size());
  for (size_t i = 0; i < sum.size(); ++i) sum[i] = (sum[i] + elements[i]) & mask;
}

}  // namespace

Auditor::Auditor(const SchedulePlan& schedule, std::function<void(std::string_view)> on_violation)
    : schedule_(schedule), on_violation_(std::move(on_violation)), plan_(Parsed(schedule.toml)) {}

void Auditor::Violates(std::string_view what) {
  violations_.emplace_back(what);
  on_violation_(what);
}

// ---- What crosses the network ----

void Auditor::Told(const Institution& client, const v1::CoordinatorMessage& message) {
  if (message.has_round_assignment()) ToldAssignment(client, message.round_assignment());
  if (message.has_secure_aggregation()) ToldSecurely(message.secure_aggregation());
}

void Auditor::ToldAssignment(const Institution& client, const v1::RoundAssignment& assignment) {
  asked_.insert({client, assignment.round(), assignment.attempt()});
  const std::optional<RunRecord> stored = disk();
  Expect(stored.has_value(), "I1: a client hears of a run that is not stored");
  if (!stored.has_value()) return;
  Expect(stored->rounds_done == assignment.round(),
         fmt::format("I1: round {} is announced, and {} are stored", assignment.round(),
                     stored->rounds_done));
  Expect(BytesOf(assignment.adapter_sha256()) ==
             Bytes(stored->adapter.bytes.begin(), stored->adapter.bytes.end()),
         fmt::format("I1: round {} begins from an adapter that is not the stored one",
                     assignment.round()));
}

void Auditor::ToldSecurely(const v1::SecureAggregationMessage& message) {
  const Bytes bytes = BytesOf(message.message());
  const auto kind = KindOf(bytes);
  Expect(kind.ok(), "a secure aggregation's message can be read");
  if (!kind.ok() || *kind != MessageKind::kSurvivors) return;
  const Attempt attempt{message.round(), message.attempt()};
  const auto& [said, is_new] = survivors_.try_emplace(attempt, bytes);
  Expect(said->second == bytes, fmt::format("I5: two sets of survivors are named in {}",
                                            Name(attempt.first, attempt.second)));
  const auto& [in, is_first] = survivors_in_.try_emplace(attempt.first, attempt.second);
  Expect(in->second == attempt.second,
         fmt::format("I5: survivors are named in two attempts of round {}", attempt.first));
}

void Auditor::Said(const Institution& client, const v1::ClientMessage& message) {
  if (message.has_run_decision()) {
    reported_.insert({client, message.run_decision().example_count()});
  }
  if (!message.has_secure_aggregation()) return;
  const v1::SecureAggregationMessage& secure = message.secure_aggregation();
  const Bytes bytes = BytesOf(secure.message());
  const auto kind = KindOf(bytes);
  Expect(kind.ok(), "a client's message can be read");
  if (!kind.ok()) return;
  const Asked attempt{client, secure.round(), secure.attempt()};
  const auto& [said, is_new] =
      said_.try_emplace({attempt, static_cast<int>(*kind)}, Sha256Of(ByteSpan(bytes)));
  Expect(said->second == Sha256Of(ByteSpan(bytes)),
         fmt::format("I5: {} says one thing two ways in {} (kind {})", client.value,
                     Name(secure.round(), secure.attempt()), static_cast<int>(*kind)));
  if (*kind == MessageKind::kAgreement) {
    const auto& [in, is_first] = agreed_in_.try_emplace({client, secure.round()}, secure.attempt());
    Expect(in->second == secure.attempt(),
           fmt::format("I5: {} agrees twice in round {}", client.value, secure.round()));
  }
  if (*kind == MessageKind::kAdvertisement) {
    const auto advertisement = DecodeAdvertisement(bytes);
    Expect(advertisement.ok(), "an advertisement can be read");
    if (!advertisement.ok()) return;
    const Attempt here{secure.round(), secure.attempt()};
    const auto& [where, is_fresh] = mask_keys_.try_emplace({client, advertisement->mask_key}, here);
    Expect(where->second == here, fmt::format("I5: {} uses a mask key twice", client.value));
  }
}

void Auditor::Submits(const Institution& client, const v1::ContributionHeader& header,
                      std::string_view bytes) {
  const Asked asked{client, header.round(), header.attempt()};
  submitted_.insert(asked);
  if (schedule_.secure) {
    const auto& [sent, is_new] = said_.try_emplace({asked, 0}, Sha256Of(bytes));
    Expect(sent->second == Sha256Of(bytes), fmt::format("I5: {} masks twice in {}", client.value,
                                                        Name(header.round(), header.attempt())));
    return;
  }
  std::vector<float> values(bytes.size() / sizeof(float));
  if (!bytes.empty()) std::memcpy(values.data(), bytes.data(), bytes.size());
  deltas_[{asked, Sha256Of(bytes)}] = std::move(values);
}

void Auditor::Masks(const Institution& client, int64_t round, int64_t attempt,
                    std::vector<uint32_t> elements) {
  elements_[{client, round, attempt}] = std::move(elements);
}

void Auditor::Acknowledged(const Institution& client, int64_t round, int64_t attempt) {
  acknowledged_.insert({client, round, attempt});
}

// What is being released may still be.
void Auditor::Stopped() {
  if (!last_round_.has_value()) last_round_ = released();
}

// ---- What reaches the disk ----

void Auditor::Started(const RunRecord& run, std::vector<float> adapter) {
  layout_ = *AdapterLayout::FromJson(run.layout_json);
  newest_ = {.values = std::move(adapter)};
  adapters_ = {run.initial_adapter};
}

void Auditor::Released(const NewRelease& release) {
  const RoundSummary& summary = release.record.summary;
  const Attempt attempt{summary.round, summary.attempt};
  Expect(!last_round_.has_value() || summary.round <= *last_round_,
         fmt::format("I1: round {} is released although the run was to stop", summary.round));
  Expect(summary.round == released(),
         fmt::format("I3: round {} is released after {} others", summary.round, released()));
  CheckContributors(release, attempt);
  CheckSum(release, attempt);
  adapters_.push_back(release.record.adapter);
  counted_ += summary.contributions;
  burnt_ += release.contributions.empty() ? 1 : 0;
}

void Auditor::CheckContributors(const NewRelease& release, const Attempt& attempt) {
  const std::string where = Name(attempt.first, attempt.second);
  const bool burnt = schedule_.secure && release.contributions.empty();
  Expect(release.record.summary.contributions == std::ssize(release.contributions),
         fmt::format("I2: {} counts others than it names", where));
  Expect(burnt || schedule_.secure || std::ssize(release.contributions) >= plan_.rounds.quorum,
         fmt::format("{} is released below the quorum", where));
  int64_t examples = 0;
  std::set<Asked> counted;
  for (const ContributionRecord& contribution : release.contributions) {
    const Institution& client = contribution.institution;
    const Asked asked{client, attempt.first, attempt.second};
    Expect(counted.insert(asked).second,
           fmt::format("I2: {} is counted twice in {}", client.value, where));
    Expect(asked_.contains(asked),
           fmt::format("I2: {} is counted in {}, and was not asked", client.value, where));
    Expect(submitted_.contains(asked),
           fmt::format("I2: {} is counted in {}, and sent nothing for it", client.value, where));
    examples += contribution.example_count;
    Expect(schedule_.secure || reported_.contains({client, contribution.example_count}),
           fmt::format("I4: {} weighs in {} what it never said", client.value, where));
  }
  Expect(schedule_.secure || examples == release.record.summary.example_count,
         fmt::format("I4: {} counts {} records, and its contributors have {}", where,
                     release.record.summary.example_count, examples));
  if (burnt) return;
  for (const Asked& asked : acknowledged_) {
    const auto& [client, round, number] = asked;
    if (Attempt(round, number) != attempt || counted.contains(asked)) continue;
    Violates(fmt::format("I1: {}'s contribution to {} was acknowledged and is not counted",
                         client.value, where));
  }
}

void Auditor::CheckSum(const NewRelease& release, const Attempt& attempt) {
  const std::string where = Name(attempt.first, attempt.second);
  absl::StatusOr<OptimizedAdapter> next = newest_;
  if (!release.contributions.empty()) {
    next = schedule_.secure ? SecureStep(release, attempt) : PlainStep(release);
  }
  Expect(next.ok(), fmt::format("I4: {} cannot be computed: {}", where, Message(next.status())));
  if (!next.ok()) return;
  const std::string_view expected = ValueBytes(next->values);
  const std::string_view stored(reinterpret_cast<const char*>(release.adapter.data()),
                                release.adapter.size());
  Expect(expected == stored,
         fmt::format("I4: the adapter of {} is not the step by its contributors' sum", where));
  Expect(Sha256Of(stored) == release.record.adapter,
         fmt::format("I3: the adapter of {} has another digest", where));
  newest_ = *std::move(next);
}

absl::StatusOr<OptimizedAdapter> Auditor::PlainStep(const NewRelease& release) const {
  const int64_t round = release.record.summary.round;
  const FactorSet factors = TrainedFactors(plan_.aggregation.method, round);
  WeightedSum sum(*layout_, factors);
  for (const ContributionRecord& contribution : release.contributions) {
    const Asked asked{contribution.institution, round, release.record.summary.attempt};
    const auto delta = deltas_.find({asked, contribution.sha256});
    if (delta == deltas_.end()) {
      return absl::NotFoundError(
          fmt::format("{} sent no such contribution", contribution.institution.value));
    }
    ValueRange range;
    range.Add(delta->second);
    const int64_t weight =
        plan_.aggregation.weights == ContributionWeights::kUniform ? 1 : contribution.example_count;
    RETURN_IF_ERROR(sum.Add(std::make_shared<ValuesInMemory>(delta->second), range, weight));
  }
  return NextAdapter(*layout_, newest_, sum, ServerStepOf(plan_, round));
}

absl::StatusOr<OptimizedAdapter> Auditor::SecureStep(const NewRelease& release,
                                                     const Attempt& attempt) const {
  const FactorSet factors = TrainedFactors(plan_.aggregation.method, attempt.first);
  std::vector<uint32_t> sum;
  for (const ContributionRecord& contribution : release.contributions) {
    const auto elements = elements_.find({contribution.institution, attempt.first, attempt.second});
    if (elements == elements_.end()) {
      return absl::NotFoundError(
          fmt::format("{} masked nothing for it", contribution.institution.value));
    }
    AddTo(sum, elements->second, plan_.secure.ring);
  }
  ASSIGN_OR_RETURN(const BaseModelDescription model,
                   BaseModelDescriptionFromJson(Federation::Get().model_json()));
  ASSIGN_OR_RETURN(const RoutingShape routing, RoutingShapeOf(model, plan_.training));
  ASSIGN_OR_RETURN(const MaskedLayout layout,
                   MaskedLayoutOf(plan_, *layout_, {.factors = factors, .routing = routing}));
  ASSIGN_OR_RETURN(const UnmaskedSum mean, UnmaskedSum::Create(layout, factors, std::move(sum),
                                                               std::ssize(release.contributions)));
  return NextAdapter(*layout_, newest_, mean, ServerStepOf(plan_, attempt.first));
}

// ---- Time ----

// A secure one: training, sharing, upload, agreement, unmasking.
absl::Duration Auditor::LongestAttempt() const {
  const absl::Duration plain = plan_.rounds.deadline + kSlack;
  return schedule_.secure ? plain + plan_.rounds.deadline + 3 * plan_.secure.phase_deadline : plain;
}

void Auditor::AfterEach(absl::Duration now) {
  if (now - checked_ < absl::Seconds(1)) return;
  checked_ = now;
  const std::optional<RunView> seen = view();
  if (!seen.has_value() || HasEnded(seen->state) || seen->state == RunState::kPaused) {
    return Excuse(now);
  }
  const std::tuple at(seen->rounds_done, seen->attempt, seen->state);
  if (at != at_) {
    at_ = at;
    return Excuse(now);
  }
  if (now - since_ <= LongestAttempt()) return;
  Violates(fmt::format("I8: {} has not ended by its deadline ({})",
                       Name(seen->rounds_done, seen->attempt), ToString(seen->phase)));
  Excuse(now);
}

void Auditor::Restarted(std::optional<int64_t> attempt, int64_t rounds_done) {
  const std::optional<RunView> seen = view();
  if (!attempt.has_value() || !seen.has_value() || HasEnded(seen->state)) return;
  Expect(seen->rounds_done == rounds_done && seen->attempt == *attempt,
         fmt::format("I1: {} was under way, and a new process does not go on with it",
                     Name(rounds_done, *attempt)));
}

void Auditor::Excuse(absl::Duration now) { since_ = now; }

void Auditor::AtTheEnd() {
  const std::optional<RunRecord> stored = disk();
  if (!stored.has_value()) return Violates("the run was never stored");
  if (!HasEnded(stored->state)) return Violates("I8: the run has not ended");
  Expect(stored->state == RunState::kFinished || !stored->reason.empty(),
         "I8: the run ended without a reason");
  Expect(stored->state != RunState::kFinished || stored->rounds_done == plan_.rounds.count,
         "I3: the run finished without all of its rounds");
  Expect(stored->rounds_done == released(), "I3: a release has disappeared");
  Expect(stored->adapter == adapters_.back(), "I3: the newest adapter is not the last release's");
}

}  // namespace fedtune::simulation
