// SPDX-License-Identifier: Apache-2.0

#include "tests/simulation/auditor.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>

#include "aggregation/adapter_bytes.h"
#include "aggregation/masked_vector.h"
#include "aggregation/weighted_sum.h"
#include "base/check.h"
#include "base/status.h"
#include "base/status_macros.h"
#include "coordinator/driver/run_overview.h"
#include "coordinator/rounds/round_journal.h"
#include "coordinator/rpc/training_conversion.h"
#include "fmt/format.h"
#include "plan/routing_shape.h"
#include "plan/secure_session.h"
#include "plan/server_step.h"
#include "privacy/secure_aggregation/messages.h"
#include "tests/simulation/federation.h"
#include "tests/support/elements_in_memory.h"
#include "tests/support/values_in_memory.h"

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
  if (message.has_welcome()) ToldWhatIsUnderWay(message.welcome());
  if (message.has_round_assignment()) ToldAssignment(client, message.round_assignment());
  if (message.has_secure_aggregation()) ToldSecurely(message.secure_aggregation());
}

void Auditor::ToldWhatIsUnderWay(const v1::Welcome& welcome) {
  const std::optional<RunRecord> stored = disk();
  if (!stored.has_value() || HasEnded(stored->state) || !welcome.has_runs_under_way()) return;
  const auto& runs = welcome.runs_under_way().run_ids();
  Expect(std::find(runs.begin(), runs.end(), stored->id.value) != runs.end(),
         "I1: a client is told that a run is not under way, and its end is not stored");
}

void Auditor::ToldAssignment(const Institution& client, const v1::RoundAssignment& assignment) {
  asked_.insert({client, assignment.round(), assignment.attempt()});
  const std::optional<RunRecord> stored = disk();
  Expect(stored.has_value(), "I1: a client hears of a run that is not stored");
  if (!stored.has_value()) return;
  const int64_t round = assignment.round();
  const int64_t late = stored->rounds_done - round;
  Expect(late == 0 || (plan_.rounds.stragglers == Stragglers::kKeep && late > 0 &&
                       late <= plan_.rounds.max_staleness),
         fmt::format("I1: round {} is announced, and {} are stored", round, stored->rounds_done));
  Expect(!last_round_before_pause_.has_value() || round <= *last_round_before_pause_,
         fmt::format("I1: round {} is announced although the run is paused", round));
  if (round > released()) return;
  const Digest& adapter = adapters_[static_cast<size_t>(round)];
  Expect(BytesOf(assignment.adapter_sha256()) == Bytes(adapter.bytes.begin(), adapter.bytes.end()),
         fmt::format("I1: round {} begins from an adapter that is not the stored one", round));
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
  newest_ = testing::OptimizedAdapter(std::move(adapter));
  adapters_ = {run.initial_adapter};
}

void Auditor::Journalled(const std::string& bytes) {
  const absl::StatusOr<JournalEntry> entry = JournalEntryFromBytes(bytes);
  Expect(entry.ok(), "a journal's entry can be read");
  if (!entry.ok()) return;
  if (const auto* opened = std::get_if<AttemptOpened>(&entry->what)) {
    const Attempt attempt{opened->round, opened->attempt};
    Expect(attempt > open_,
           fmt::format("I1: {} is opened after {}", Name(attempt.first, attempt.second),
                       Name(open_.first, open_.second)));
    open_ = attempt;
    return;
  }
  const auto* received = std::get_if<ReceivedFromClient>(&entry->what);
  const auto* taken =
      received == nullptr ? nullptr : std::get_if<ContributionTaken>(&received->event);
  if (taken == nullptr) return;
  const ContributionHeader& header = taken->header;
  taken_[{received->from, header.sha256}] = {
      .home = open_, .asked = {received->from, header.round, header.attempt}};
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
  Expect(burnt != release.record.summary.burnt.empty(),
         fmt::format("I8: {} burns without a reason, or has one and counts", where));
  Expect(burnt || schedule_.secure || std::ssize(release.contributions) >= plan_.rounds.quorum,
         fmt::format("{} is released below the quorum", where));
  int64_t examples = 0;
  std::set<Institution> counted;
  for (const ContributionRecord& contribution : release.contributions) {
    Expect(counted.insert(contribution.institution).second,
           fmt::format("I2: {} is counted twice in {}", contribution.institution.value, where));
    CheckOrigin(contribution, attempt);
    examples += contribution.example_count;
  }
  Expect(schedule_.secure || examples == release.record.summary.example_count,
         fmt::format("I4: {} counts {} records, and its contributors have {}", where,
                     release.record.summary.example_count, examples));
  if (!burnt) CheckAcknowledged(release, attempt);
}

void Auditor::CheckOrigin(const ContributionRecord& contribution, const Attempt& attempt) {
  const std::string where = Name(attempt.first, attempt.second);
  const Institution& client = contribution.institution;
  const Asked asked = OriginOf(contribution, attempt);
  Expect(asked_.contains(asked),
         fmt::format("I2: {} is counted in {}, and was not asked", client.value, where));
  Expect(submitted_.contains(asked),
         fmt::format("I2: {} is counted in {}, and sent nothing for it", client.value, where));
  if (schedule_.secure) return;
  const auto& [counted, is_new] =
      counted_in_.try_emplace({client, contribution.sha256}, attempt.first);
  Expect(is_new, fmt::format("I2: {} is counted in round {}, and for the same in round {}",
                             client.value, attempt.first, counted->second));
  Expect(reported_.contains({client, contribution.example_count}),
         fmt::format("I4: {} weighs in {} what it never said", client.value, where));
  const int64_t weight = WeightOf(contribution, attempt);
  Expect(contribution.weight == weight,
         fmt::format("I4: {} has the weight {} in {}, and should {}", client.value,
                     contribution.weight, where, weight));
  late_ += std::get<1>(asked) < attempt.first ? 1 : 0;
}

// What is taken counts where it is taken, or nowhere if that attempt fails.
void Auditor::CheckAcknowledged(const NewRelease& release, const Attempt& attempt) {
  std::set<Asked> counted;
  for (const ContributionRecord& contribution : release.contributions) {
    counted.insert(OriginOf(contribution, attempt));
  }
  std::map<Asked, Attempt> homes;
  for (const auto& [sent, taken] : taken_) homes[taken.asked] = taken.home;
  for (const Asked& asked : acknowledged_) {
    const auto& [client, round, number] = asked;
    const auto home = homes.find(asked);
    const Attempt counts_in = home == homes.end() ? Attempt(round, number) : home->second;
    if (counts_in != attempt || counted.contains(asked)) continue;
    Violates(fmt::format("I1: {}'s contribution to {} was acknowledged and is not counted",
                         client.value, Name(round, number)));
  }
}

// Where it was trained.
Auditor::Asked Auditor::OriginOf(const ContributionRecord& contribution,
                                 const Attempt& attempt) const {
  const auto taken = taken_.find({contribution.institution, contribution.sha256});
  if (taken != taken_.end() && taken->second.home == attempt) return taken->second.asked;
  return {contribution.institution, attempt.first, attempt.second};
}

// FedBuff's, in 256ths: w / sqrt(1 + rounds late).
int64_t Auditor::WeightOf(const ContributionRecord& contribution, const Attempt& attempt) const {
  const int64_t weight =
      plan_.aggregation.weights == ContributionWeights::kUniform ? 1 : contribution.example_count;
  if (!schedule_.keeps_stragglers) return weight;
  const auto late =
      static_cast<double>(attempt.first - std::get<1>(OriginOf(contribution, attempt)));
  return std::max<int64_t>(1,
                           std::llround(256.0 * static_cast<double>(weight) / std::sqrt(1 + late)));
}

void Auditor::CheckSum(const NewRelease& release, const Attempt& attempt) {
  const std::string where = Name(attempt.first, attempt.second);
  absl::StatusOr<testing::OptimizedAdapter> next = newest_;
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

absl::StatusOr<testing::OptimizedAdapter> Auditor::PlainStep(const NewRelease& release) const {
  const Attempt attempt{release.record.summary.round, release.record.summary.attempt};
  const FactorSet factors = TrainedFactors(plan_.aggregation.method, attempt.first);
  WeightedSum sum(*layout_, factors);
  for (const ContributionRecord& contribution : release.contributions) {
    const auto delta = deltas_.find({OriginOf(contribution, attempt), contribution.sha256});
    if (delta == deltas_.end()) {
      return absl::NotFoundError(
          fmt::format("{} sent no such contribution", contribution.institution.value));
    }
    ValueRange range;
    range.Add(delta->second);
    RETURN_IF_ERROR(sum.Add(std::make_shared<testing::ValuesInMemory>(delta->second), range,
                            WeightOf(contribution, attempt)));
  }
  return testing::NextAdapter(*layout_, newest_, sum, ServerStepOf(plan_, attempt.first));
}

absl::StatusOr<testing::OptimizedAdapter> Auditor::SecureStep(const NewRelease& release,
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
  ASSIGN_OR_RETURN(const UnmaskedSum mean,
                   UnmaskedSum::Create(layout, factors, testing::InMemory(std::move(sum)),
                                       std::ssize(release.contributions)));
  return testing::NextAdapter(*layout_, newest_, mean, ServerStepOf(plan_, attempt.first));
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

void Auditor::Restarted(std::optional<int64_t> attempt, int64_t rounds_done, bool may_be_over) {
  const std::optional<RunView> seen = view();
  if (!attempt.has_value() || !seen.has_value() || HasEnded(seen->state)) return;
  const bool is_next = may_be_over && seen->attempt == *attempt + 1;
  Expect(seen->rounds_done == rounds_done && (seen->attempt == *attempt || is_next),
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
  Expect(stored->state != RunState::kFinished || burnt_ < plan_.rounds.count,
         "I8: the run finished, and none of its rounds counted");
  Expect(stored->rounds_done == released(), "I3: a release has disappeared");
  Expect(stored->adapter == adapters_.back(), "I3: the newest adapter is not the last release's");
}

}  // namespace fedtune::simulation
