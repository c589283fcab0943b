// SPDX-License-Identifier: Apache-2.0

#include "client/training/evaluation.h"

#include <algorithm>
#include <cmath>
#include <span>
#include <utility>
#include <vector>

#include "ATen/core/grad_mode.h"
#include "base/check.h"
#include "base/status_macros.h"
#include "client/training/overflow.h"
#include "client/training/packing.h"
#include "fmt/format.h"
#include "model/transformer/adapter.h"
#include "model/transformer/loss.h"

namespace fedtune {
namespace {

// Rows that go through the model together.
constexpr int64_t kMaxRows = 4096;

// The tokens of the record's own answer.
std::span<const int32_t> AnswerOf(const TokenizedRecord& record) {
  return std::span(record.tokens).subspan(FirstTarget(record));
}

// Which of the choices is the record's answer.
absl::StatusOr<size_t> FindAnswer(const TokenizedRecord& record,
                                  std::span<const std::vector<int32_t>> choices) {
  const std::span<const int32_t> answer = AnswerOf(record);
  for (size_t i = 0; i < choices.size(); ++i) {
    if (std::equal(answer.begin(), answer.end(), choices[i].begin(), choices[i].end())) return i;
  }
  return absl::InvalidArgumentError(
      fmt::format("a record's answer is none of the {} choices", choices.size()));
}

absl::Status CheckChoices(const EvaluationRequest& request, const ModelConfig& config) {
  for (const std::vector<int32_t>& choice : request.choices) {
    if (choice.empty()) return absl::InvalidArgumentError("a choice has no tokens");
    for (const int32_t token : choice) {
      if (token >= 0 && token < config.vocabulary_size) continue;
      return absl::InvalidArgumentError(
          fmt::format("a choice has token {}, but the vocabulary ends at {}", token,
                      config.vocabulary_size - 1));
    }
  }
  return absl::OkStatus();
}

// Sums over the records evaluated so far.
class Totals {
 public:
  void AddAnswer(double loss, int64_t tokens) {
    loss_ += loss;
    tokens_ += tokens;
    ++examples_;
  }
  void AddChoice(bool right) { right_ += right ? 1 : 0; }

  Evaluation Finish(bool chosen) const {
    Evaluation evaluation;
    evaluation.example_count = examples_;
    evaluation.answer_token_count = tokens_;
    evaluation.loss = loss_ / static_cast<double>(tokens_);
    if (chosen) evaluation.accuracy = static_cast<double>(right_) / static_cast<double>(examples_);
    return evaluation;
  }

 private:
  double loss_ = 0;
  int64_t tokens_ = 0;
  int64_t examples_ = 0;
  int64_t right_ = 0;
};

// Summed losses and numbers of tokens of a pass's answers.
struct AnswerLosses {
  std::vector<double> sums;
  std::vector<int64_t> tokens;
};

AnswerLosses ComputeLosses(const Model& model, const Adapter& adapter,
                           const PackedRecords& packed) {
  const at::Tensor hidden = HiddenStates(model, adapter, packed.batch, packed.wanted_rows);
  const std::vector<float> losses =
      TokenLosses(hidden, model.head, adapter.Of(model.head), packed.predictions);
  AnswerLosses answers;
  answers.sums.resize(static_cast<size_t>(packed.answer_count));
  answers.tokens.resize(answers.sums.size());
  for (size_t i = 0; i < losses.size(); ++i) {
    const auto answer = static_cast<size_t>(packed.answers[i]);
    answers.sums[answer] += static_cast<double>(losses[i]);
    ++answers.tokens[answer];
  }
  return answers;
}

// Packs records from the front of `records` until the pass is full.
PackedRecords PackSome(std::span<const TokenizedRecord>& records,
                       std::span<const std::vector<int32_t>> choices) {
  PackedRecords packed;
  do {
    if (choices.empty()) {
      packed.Add(records.front());
    } else {
      packed.AddChoices(records.front(), choices);
    }
    records = records.subspan(1);
  } while (!records.empty() && packed.batch.rows() < kMaxRows);
  return packed;
}

bool AreFinite(std::span<const double> sums) {
  return std::ranges::all_of(sums, [](double sum) { return std::isfinite(sum); });
}

// Adds the records of one pass to `totals`.
absl::Status AddPass(const AnswerLosses& answers, std::span<const TokenizedRecord> records,
                     std::span<const std::vector<int32_t>> choices, Totals& totals) {
  const size_t stride = std::max<size_t>(1, choices.size());
  for (size_t i = 0; i < records.size(); ++i) {
    const auto sums = std::span(answers.sums).subspan(i * stride, stride);
    size_t own = 0;
    if (!choices.empty()) {
      ASSIGN_OR_RETURN(own, FindAnswer(records[i], choices));
      const auto best = std::min_element(sums.begin(), sums.end());
      totals.AddChoice(static_cast<size_t>(best - sums.begin()) == own);
    }
    totals.AddAnswer(sums[own], answers.tokens[i * stride + own]);
  }
  return absl::OkStatus();
}

absl::StatusOr<Adapter> MakeAdapter(const Model& model, const EvaluationRequest& request) {
  if (request.adapter.empty()) return Adapter();
  Check(request.layout != nullptr, "an adapter without a layout");
  ASSIGN_OR_RETURN(Adapter adapter,
                   Adapter::Create(*request.layout, model.linear_layers, model.device()));
  RETURN_IF_ERROR(adapter.Load(request.adapter));
  return adapter;
}

}  // namespace

absl::StatusOr<Evaluation> EvaluateAdapter(const Model& model, const EvaluationRequest& request,
                                           const EvaluationObserver& observer) {
  at::NoGradGuard no_grad;
  if (request.records.empty())
    return absl::InvalidArgumentError("there are no records to evaluate");
  for (const TokenizedRecord& record : request.records) {
    RETURN_IF_ERROR(CheckRecord(record, model.config));
  }
  RETURN_IF_ERROR(CheckChoices(request, model.config));
  ASSIGN_OR_RETURN(const Adapter adapter, MakeAdapter(model, request));
  Totals totals;
  const auto count = static_cast<int64_t>(request.records.size());
  for (std::span<const TokenizedRecord> rest = request.records; !rest.empty();) {
    const std::span<const TokenizedRecord> before = rest;
    const PackedRecords packed = PackSome(rest, request.choices);
    const auto done = before.first(before.size() - rest.size());
    const AnswerLosses answers = ComputeLosses(model, adapter, packed);
    if (!AreFinite(answers.sums)) return Overflowed(!request.adapter.empty());
    RETURN_IF_ERROR(AddPass(answers, done, request.choices, totals));
    if (observer && !observer(count - static_cast<int64_t>(rest.size()), count)) {
      return absl::CancelledError("the evaluation was cancelled");
    }
  }
  return totals.Finish(!request.choices.empty());
}

}  // namespace fedtune
