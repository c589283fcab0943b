// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "aggregation/element_source.h"

namespace fedtune::testing {

class ElementsInMemory final : public ElementSource {
 public:
  explicit ElementsInMemory(std::vector<uint32_t> elements) : elements_(std::move(elements)) {}

  int64_t element_count() const override { return std::ssize(elements_); }

  absl::Status Read(int64_t first, std::span<uint32_t> elements) const override {
    std::copy_n(elements_.begin() + first, elements.size(), elements.begin());
    return absl::OkStatus();
  }

 private:
  const std::vector<uint32_t> elements_;
};

// As UnmaskedSum::Create() takes them.
inline std::shared_ptr<const ElementSource> InMemory(std::vector<uint32_t> elements) {
  return std::make_shared<const ElementsInMemory>(std::move(elements));
}

}  // namespace fedtune::testing
