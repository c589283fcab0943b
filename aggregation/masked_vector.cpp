// SPDX-License-Identifier: Apache-2.0

#include "aggregation/masked_vector.h"

#include <algorithm>
#include <utility>

#include "aggregation/adapter_bytes.h"
#include "base/check.h"
#include "base/status_macros.h"
#include "fmt/format.h"

namespace fedtune {
namespace {

// Values that are read and rounded at a time.
constexpr int64_t kValuesTogether = 16'384;

absl::Status CheckDelta(const MaskedLayout& layout, const SummedDelta& delta, int64_t weight) {
  if (delta.range.count() != layout.value_count()) {
    return absl::InvalidArgumentError(fmt::format("the contribution has {} values, {} are expected",
                                                  delta.range.count(), layout.value_count()));
  }
  if (layout.value_count() == 0) return absl::OkStatus();
  if (weight < 1) return absl::InvalidArgumentError("a contribution's weight must be at least 1");
  return CheckFinite(delta.adapter, delta.factors, delta.range, "the contribution");
}

}  // namespace

absl::StatusOr<MaskedVector> MaskedVector::Create(const MaskedLayout& layout, SummedDelta delta,
                                                  const CountedRound& round,
                                                  const SecretBytes& rounding_key) {
  RETURN_IF_ERROR(CheckDelta(layout, delta, round.weight));
  ASSIGN_OR_RETURN(const std::vector<int64_t> numbers, ToNumbers(round));
  if (numbers.size() != layout.counters().size()) {
    return absl::InvalidArgumentError(fmt::format("the round counts {} numbers, {} are expected",
                                                  numbers.size(), layout.counters().size()));
  }
  ASSIGN_OR_RETURN(std::vector<uint32_t> limbs, layout.Limbs(numbers));
  MaskedVector vector(layout, std::move(delta.values), round.weight, std::move(limbs));
  vector.rounding_.Add(rounding_key, MaskSign::kAdd);
  return vector;
}

MaskedVector::MaskedVector(MaskedLayout layout, std::shared_ptr<const ValueSource> values,
                           int64_t weight, std::vector<uint32_t> limbs)
    : layout_(std::move(layout)),
      values_(std::move(values)),
      weight_(weight),
      limbs_(std::move(limbs)) {}

absl::Status MaskedVector::Read(int64_t first, std::span<uint32_t> elements) const {
  Check(first >= 0 && first + std::ssize(elements) <= element_count(), "more than there is");
  std::vector<float> values(
      static_cast<size_t>(std::min<int64_t>(kValuesTogether, std::ssize(elements))));
  while (!elements.empty() && first < layout_.value_count()) {
    // Pieces end where the rounding's groups do.
    const int64_t end =
        std::min(layout_.value_count(), (first / kValuesTogether + 1) * kValuesTogether);
    const auto count = static_cast<size_t>(std::min(end - first, std::ssize(elements)));
    const std::span<float> piece = std::span(values).first(count);
    RETURN_IF_ERROR(values_->Read(first, piece));
    layout_.quantizer().Quantize(rounding_, weight_, first, piece, elements.first(count));
    first += static_cast<int64_t>(count);
    elements = elements.subspan(count);
  }
  if (elements.empty()) return absl::OkStatus();
  std::copy_n(limbs_.begin() + (first - layout_.value_count()), elements.size(), elements.begin());
  return absl::OkStatus();
}

absl::StatusOr<UnmaskedSum> UnmaskedSum::Create(MaskedLayout layout, FactorSet factors,
                                                std::shared_ptr<const ElementSource> sum,
                                                int64_t contributions) {
  if (sum->element_count() != layout.element_count()) {
    return absl::InvalidArgumentError(fmt::format("the sum has {} elements, {} are expected",
                                                  sum->element_count(), layout.element_count()));
  }
  if (contributions < 1 || contributions > layout.quantizer().settings().max_cohort) {
    return absl::InvalidArgumentError(fmt::format("a sum of {} contributions, {} are allowed",
                                                  contributions,
                                                  layout.quantizer().settings().max_cohort));
  }
  std::vector<uint32_t> limbs(static_cast<size_t>(layout.element_count() - layout.value_count()));
  RETURN_IF_ERROR(sum->Read(layout.value_count(), limbs));
  ASSIGN_OR_RETURN(const std::vector<int64_t> sums, layout.Sums(limbs, contributions));
  ASSIGN_OR_RETURN(CountedRounds counted, FromSums(sums, contributions));
  if (layout.value_count() > 0 && counted.total_weight < contributions) {
    return absl::OutOfRangeError("a client's weight is 0: it has not sent what was agreed");
  }
  return UnmaskedSum(std::move(layout), factors, std::move(sum), std::move(counted));
}

UnmaskedSum::UnmaskedSum(MaskedLayout layout, FactorSet factors,
                         std::shared_ptr<const ElementSource> sum, CountedRounds counted)
    : layout_(std::move(layout)),
      factors_(factors),
      sum_(std::move(sum)),
      counted_(std::move(counted)) {}

absl::Status UnmaskedSum::Mean(int64_t first, std::span<float> mean) const {
  Check(first >= 0 && first + std::ssize(mean) <= layout_.value_count(), "more than there is");
  std::vector<uint32_t> elements(mean.size());
  RETURN_IF_ERROR(sum_->Read(first, elements));
  return layout_.quantizer().Mean(elements, counted_.contributions, counted_.total_weight, mean);
}

}  // namespace fedtune
