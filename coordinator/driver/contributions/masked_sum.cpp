// SPDX-License-Identifier: Apache-2.0

#include "coordinator/driver/contributions/masked_sum.h"

#include <algorithm>
#include <cstdint>
#include <span>

#include "base/status_macros.h"

namespace fedtune {
namespace {

class UnmaskedInputs final : public ElementSource {
 public:
  UnmaskedInputs(int64_t element_count, std::vector<MaskedSum::Input> inputs,
                 std::shared_ptr<const MaskStreams> masks)
      : element_count_(element_count), inputs_(std::move(inputs)), masks_(std::move(masks)) {}

  int64_t element_count() const override { return element_count_; }

  absl::Status Read(int64_t first, std::span<uint32_t> elements) const override {
    const int64_t skipped = first % MaskStreams::kAlignment;
    if (skipped == 0) return ReadAligned(first, elements);
    std::vector<uint32_t> all(elements.size() + static_cast<size_t>(skipped));
    RETURN_IF_ERROR(ReadAligned(first - skipped, all));
    std::copy(all.begin() + skipped, all.end(), elements.begin());
    return absl::OkStatus();
  }

 private:
  absl::Status ReadAligned(int64_t first, std::span<uint32_t> elements) const {
    std::fill(elements.begin(), elements.end(), 0);
    for (const MaskedSum::Input& input : inputs_) RETURN_IF_ERROR(input->AddTo(first, elements));
    masks_->Apply(first, elements);
    return absl::OkStatus();
  }

  const int64_t element_count_;
  const std::vector<MaskedSum::Input> inputs_;
  const std::shared_ptr<const MaskStreams> masks_;
};

}  // namespace

void MaskedSum::Add(Input input, ContributionRecord contribution) {
  inputs_.push_back(std::move(input));
  contributions_.push_back(std::move(contribution));
}

bool MaskedSum::Has(const MaskedElements& input) const {
  return std::any_of(inputs_.begin(), inputs_.end(),
                     [&](const Input& one) { return one.get() == &input; });
}

std::shared_ptr<const ElementSource> MaskedSum::Unmasked(
    std::shared_ptr<const MaskStreams> masks) const {
  return std::make_shared<const UnmaskedInputs>(layout_.element_count(), inputs_, std::move(masks));
}

}  // namespace fedtune
