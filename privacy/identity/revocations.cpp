// SPDX-License-Identifier: Apache-2.0

#include "privacy/identity/revocations.h"

#include "base/status.h"
#include "base/status_macros.h"

namespace fedtune {

absl::StatusOr<std::shared_ptr<Revocations>> Revocations::Open(std::filesystem::path list,
                                                               std::filesystem::path authority) {
  if (list.empty()) return nullptr;
  const absl::StatusOr<RevocationFiles> files = ReadRevocationFiles(list, authority);
  if (!files.ok()) return Annotate(files.status(), "revocation_list");
  absl::StatusOr<RevocationList> verified = RevocationList::Verify(files->list, files->authority);
  if (!verified.ok()) {
    return Annotate(Annotate(verified.status(), list.string()), "revocation_list");
  }
  return std::shared_ptr<Revocations>(
      new Revocations(std::move(list), std::move(authority),
                      {.list = *std::move(verified), .source = SourceOf(*files)}));
}

absl::Status Revocations::Refresh() {
  ASSIGN_OR_RETURN(const RevocationFiles files, ReadRevocationFiles(path_, authority_));
  const Source source = SourceOf(files);
  if (IsInUse(source)) return absl::OkStatus();
  absl::StatusOr<RevocationList> verified = RevocationList::Verify(files.list, files.authority);
  if (!verified.ok()) return Annotate(verified.status(), path_.string());
  const std::lock_guard lock(mutex_);
  RETURN_IF_ERROR(Annotate(verified->CheckFollows(*list_), path_.string()));
  if (verified->digest() != list_->digest()) {
    list_ = std::make_shared<const RevocationList>(*std::move(verified));
  }
  source_ = source;
  return absl::OkStatus();
}

Revocations::Source Revocations::SourceOf(const RevocationFiles& files) {
  return {.list = Sha256Of(files.list), .authority = Sha256Of(files.authority)};
}

bool Revocations::IsInUse(const Source& source) const {
  const std::lock_guard lock(mutex_);
  return source == source_;
}

std::shared_ptr<const RevocationList> Revocations::list() const {
  const std::lock_guard lock(mutex_);
  return list_;
}

}  // namespace fedtune
