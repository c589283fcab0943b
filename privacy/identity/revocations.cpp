// SPDX-License-Identifier: Apache-2.0

#include "privacy/identity/revocations.h"

#include "base/status.h"
#include "base/status_macros.h"

namespace fedtune {

absl::StatusOr<std::shared_ptr<Revocations>> Revocations::Open(std::filesystem::path list,
                                                               std::filesystem::path authority) {
  if (list.empty()) return nullptr;
  absl::StatusOr<RevocationList> loaded = RevocationList::Load(list, authority);
  if (!loaded.ok()) return Annotate(loaded.status(), "revocation_list");
  return std::shared_ptr<Revocations>(
      new Revocations(std::move(list), std::move(authority), *std::move(loaded)));
}

absl::Status Revocations::Refresh() {
  ASSIGN_OR_RETURN(RevocationList loaded, RevocationList::Load(path_, authority_));
  const std::lock_guard lock(mutex_);
  RETURN_IF_ERROR(Annotate(loaded.CheckFollows(*list_), path_.string()));
  if (loaded.digest() != list_->digest()) {
    list_ = std::make_shared<const RevocationList>(std::move(loaded));
  }
  return absl::OkStatus();
}

std::shared_ptr<const RevocationList> Revocations::list() const {
  const std::lock_guard lock(mutex_);
  return list_;
}

}  // namespace fedtune
