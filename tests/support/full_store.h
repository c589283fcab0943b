// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "coordinator/storage/forwarding_store.h"

namespace fedtune::testing {

inline const absl::Status kFull = absl::ResourceExhaustedError("disk full");

// A store that takes no journal while it is full.
class FullStore final : public ForwardingStore {
 public:
  using ForwardingStore::ForwardingStore;

  absl::Status AppendToJournal(const RunId& id, const std::vector<std::string>& entries) override {
    return is_full ? kFull : ForwardingStore::AppendToJournal(id, entries);
  }
  absl::Status OpenJournal(const RunId& id, int64_t attempt, std::string_view entry) override {
    return is_full ? kFull : ForwardingStore::OpenJournal(id, attempt, entry);
  }

  bool is_full = false;
};

}  // namespace fedtune::testing
