// SPDX-License-Identifier: Apache-2.0

#include "client/round/memory_fit.h"

#include <algorithm>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "base/units.h"
#include "client/data/packed_rows.h"
#include "client/round/training_schedule.h"
#include "fmt/format.h"
#include "fmt/ranges.h"

namespace fedtune {
namespace {

std::string Bytes(int64_t bytes) { return HumanBytes(static_cast<uint64_t>(bytes)); }

// Those on which rows of the records' tokens lie.
int64_t EmbeddingPieces(const TrainingNeed& need) {
  const int64_t row_bytes = EmbeddingRowBytes(need.model);
  const int64_t size = need.model.vocabulary_size * row_bytes;
  std::vector<bool> used(static_cast<size_t>(size / kEmbeddingPieceBytes + 1));
  for (const auto& records : {need.records, need.validation}) {
    for (const TokenizedRecord& record : records) {
      for (const int32_t token : record.tokens) {
        const int64_t begin = token * row_bytes;
        if (token < 0 || begin >= size) continue;  // Refused when it is trained with.
        used[static_cast<size_t>(begin / kEmbeddingPieceBytes)] = true;
      }
    }
  }
  return std::count(used.begin(), used.end(), true);
}

// A training of the need, or of one that is like it but for a few numbers.
class Forecast {
 public:
  Forecast(const MemoryBudget& budget, const TrainingNeed& need)
      : budget_(budget),
        model_(need.model),
        layout_(need.layout),
        plan_(need.plan),
        institution_(need.institution) {
    int64_t longest = 1;
    for (const TokenizedRecord& record : need.records) {
      records_.push_back(RowsOf(record));
      longest = std::max(longest, records_.back().tokens);
    }
    known_.embedding_pieces = EmbeddingPieces(need);
    const bool beside_the_model = budget.type != ComputeType::kBf16;  // Not on a GPU.
    if (beside_the_model) record_bytes_ = MemoryOf(need.records) + MemoryOf(need.validation);
    Set(&TrainingPlan::sequence_length, std::min(plan_.training.sequence_length, longest));
  }

  const TrainingPlan& training() const { return plan_.training; }

  // As if the plan said so: longer records are then as long as it says.
  void Set(int64_t TrainingPlan::*number, int64_t value) {
    plan_.training.*number = value;
    PackRecords();
  }
  void Choose(Recompute recompute) { budget_.recompute = recompute; }

  PlanCost Cost(int64_t recomputed_layers) const {
    PlanCost cost = EstimateCost(plan_, model_, layout_, budget_.type, recomputed_layers, known_);
    cost.record_bytes = record_bytes_;
    return cost;
  }

  bool Fits(const PlanCost& cost) const {
    return static_cast<uint64_t>(cost.memory_bytes()) <= budget_.bytes;
  }

  // The fewest layers with which it fits; none if it does not, however many.
  std::optional<int64_t> FewestLayers() const {
    for (int64_t layers = fewest(); layers <= most(); ++layers) {
      if (Fits(Cost(layers))) return layers;
    }
    return std::nullopt;
  }

  // That takes the least memory.
  PlanCost Least() const {
    PlanCost least = Cost(fewest());
    for (int64_t layers = fewest() + 1; layers <= most(); ++layers) {
      const PlanCost cost = Cost(layers);
      if (cost.memory_bytes() < least.memory_bytes()) least = cost;
    }
    return least;
  }

  int64_t layers() const { return model_.layer_count; }

 private:
  void PackRecords() {
    if (records_.empty()) return;
    const TrainingPlan& training = plan_.training;
    std::vector<RecordRows> records = records_;
    for (RecordRows& record : records) {
      record.tokens = std::min(record.tokens, training.sequence_length);
      record.rows = std::min(record.rows, record.tokens);
      record.wanted = std::min(record.wanted, record.tokens);
    }
    const auto count = static_cast<int64_t>(records.size());
    const PackedRows most = MostRowsOf(records,
                                       {.seed = static_cast<uint64_t>(training.seed),
                                        .institution = std::string(institution_),
                                        .record_count = count,
                                        .batch_size = training.batch_size},
                                       plan_.rounds.count * StepsPerRound(training, count));
    known_.rows = most.rows;
    known_.wanted_rows = most.wanted;
  }

  int64_t fewest() const { return budget_.recompute == Recompute::kAlways ? layers() : 0; }
  int64_t most() const { return budget_.recompute == Recompute::kNever ? 0 : layers(); }

  MemoryBudget budget_;
  const BaseModelDescription& model_;
  const AdapterLayout& layout_;
  Plan plan_;
  std::string_view institution_;
  std::vector<RecordRows> records_;
  int64_t record_bytes_ = 0;
  KnownRecords known_;
};

// The largest value of a number of the training below its own, halved again and again,
// with which it fits; none if that does not help.
std::optional<int64_t> HalvedUntilItFits(Forecast forecast, int64_t TrainingPlan::*number) {
  while (forecast.training().*number > 1) {
    forecast.Set(number, forecast.training().*number / 2);
    if (forecast.FewestLayers()) return forecast.training().*number;
  }
  return std::nullopt;
}

// What each on its own would make it fit.
std::vector<std::string> Remedies(const MemoryBudget& budget, Forecast forecast) {
  std::vector<std::string> remedies;
  if (budget.recompute != Recompute::kAuto) {
    Forecast recomputed = forecast;
    recomputed.Choose(Recompute::kAuto);
    if (const auto layers = recomputed.FewestLayers()) {
      remedies.push_back(fmt::format(
          "recompute = \"auto\" in [training] of the client's configuration (--recompute auto): {} "
          "of {} layers would compute their activations twice",
          *layers, forecast.layers()));
    }
  }
  if (const auto length = HalvedUntilItFits(forecast, &TrainingPlan::sequence_length)) {
    remedies.push_back(
        fmt::format("records of at most {} tokens (sequence_length; the longest has "
                    "{})",
                    *length, forecast.training().sequence_length));
  }
  if (const auto batch = HalvedUntilItFits(forecast, &TrainingPlan::batch_size)) {
    remedies.push_back(
        fmt::format("batch_size = {} (it is {})", *batch, forecast.training().batch_size));
  }
  const PlanCost least = forecast.Least();
  const auto others = static_cast<double>(least.memory_bytes() - least.adapter_bytes);
  const double room = static_cast<double>(budget.bytes) - others;
  if (room > 0 && least.adapter_bytes > 0) {
    const double share = std::min(1.0, room / static_cast<double>(least.adapter_bytes));
    remedies.push_back(fmt::format(
        "at most {} trained parameters (rank, targets; there are {})",
        HumanCount(static_cast<uint64_t>(share * static_cast<double>(least.trained_parameters))),
        HumanCount(static_cast<uint64_t>(least.trained_parameters))));
  }
  return remedies;
}

std::string Advice(const MemoryBudget& budget, const Forecast& forecast, const PlanCost& least) {
  const int64_t model = least.program_bytes + least.weight_bytes + least.returned_weight_bytes;
  if (static_cast<uint64_t>(model) > budget.bytes) {
    return "the base model alone does not fit: take a smaller one, or a machine with more memory";
  }
  if (static_cast<uint64_t>(model + least.record_bytes) > budget.bytes) {
    return "the base model and the records alone do not fit: take fewer records, or a machine with "
           "more memory";
  }
  const std::vector<std::string> remedies = Remedies(budget, forecast);
  if (remedies.empty()) {
    return "no single change makes it fit; take shorter records (sequence_length), fewer of them "
           "at a time (batch_size) and fewer trained parameters (rank, targets) together";
  }
  return fmt::format("any of these makes it fit: {}", fmt::join(remedies, "; "));
}

absl::Status Refuse(const MemoryBudget& budget, const Forecast& forecast) {
  const PlanCost least = forecast.Least();
  return absl::ResourceExhaustedError(fmt::format(
      "training would take {} of memory (program {}, weights {}, adapter {}, activations {}{}{}), "
      "and there are {}; {}; how much a training may use can be set (memory_gb in [training] of "
      "the client's configuration, --memory-gb)",
      Bytes(least.memory_bytes()), Bytes(least.program_bytes), Bytes(least.weight_bytes),
      Bytes(least.adapter_bytes), Bytes(least.activation_bytes),
      budget.recompute == Recompute::kNever ? ""
                                            : ", where layers compute them twice to save memory",
      least.record_bytes == 0 ? "" : ", records " + Bytes(least.record_bytes),
      HumanBytes(budget.bytes), Advice(budget, forecast, least)));
}

}  // namespace

absl::StatusOr<MemoryFit> FitIntoMemory(const MemoryBudget& budget, const TrainingNeed& need) {
  const Forecast forecast(budget, need);
  const std::optional<int64_t> layers = forecast.FewestLayers();
  if (!layers) return Refuse(budget, forecast);
  return MemoryFit{.recomputed_layers = *layers,
                   .layers = forecast.layers(),
                   .bytes = forecast.Cost(*layers).memory_bytes(),
                   .bytes_if_kept = forecast.Cost(0).memory_bytes(),
                   .limit = budget.bytes};
}

std::string Describe(const MemoryFit& fit) {
  std::string text = fmt::format("{} of {}", Bytes(fit.bytes), HumanBytes(fit.limit));
  if (fit.recomputed_layers == 0) return text;
  return fmt::format("{}, as {} of {} layers compute their activations twice ({} if none did)",
                     text, fit.recomputed_layers, fit.layers, Bytes(fit.bytes_if_kept));
}

}  // namespace fedtune
