// SPDX-License-Identifier: Apache-2.0

#include "privacy/identity/revocations.h"

#include "base/files.h"
#include "base/status.h"
#include "base/status_macros.h"
#include "fmt/format.h"

namespace fedtune {

absl::StatusOr<std::shared_ptr<Revocations>> Revocations::Open(std::filesystem::path list,
                                                               std::filesystem::path authority,
                                                               std::filesystem::path kept) {
  if (list.empty()) return nullptr;
  const absl::StatusOr<RevocationFiles> files = ReadRevocationFiles(list, authority);
  if (!files.ok()) return Annotate(files.status(), "revocation_list");
  absl::StatusOr<RevocationList> verified = RevocationList::Verify(files->list, files->authority);
  if (!verified.ok()) {
    return Annotate(Annotate(verified.status(), list.string()), "revocation_list");
  }
  Paths paths{.list = std::move(list), .authority = std::move(authority), .kept = std::move(kept)};
  RETURN_IF_ERROR(
      Annotate(CheckFollowsKept(*verified, paths, files->authority), "revocation_list"));
  return std::shared_ptr<Revocations>(new Revocations(
      std::move(paths),
      {.list = *std::move(verified), .pem = files->list, .source = SourceOf(*files)}));
}

// Another authority counts its lists anew.
absl::Status Revocations::CheckFollowsKept(const RevocationList& list, const Paths& paths,
                                           std::string_view authority_pem) {
  if (paths.kept.empty()) return absl::OkStatus();
  const absl::StatusOr<std::string> pem = ReadFile(paths.kept);
  if (absl::IsNotFound(pem.status())) return absl::OkStatus();
  RETURN_IF_ERROR(pem.status());
  const absl::StatusOr<RevocationList> kept = RevocationList::Verify(*pem, authority_pem);
  if (!kept.ok()) return absl::OkStatus();
  return Annotate(list.CheckFollows(*kept),
                  fmt::format("{}, after {}", paths.list.string(), paths.kept.string()));
}

absl::Status Revocations::Keep() {
  const std::lock_guard lock(mutex_);
  if (paths_.kept.empty() || kept_ == list_->digest()) return absl::OkStatus();
  RETURN_IF_ERROR(WriteFileAtomically(paths_.kept, pem_));
  kept_ = list_->digest();
  return absl::OkStatus();
}

absl::Status Revocations::Refresh() {
  ASSIGN_OR_RETURN(const RevocationFiles files, ReadRevocationFiles(paths_.list, paths_.authority));
  const Source source = SourceOf(files);
  if (IsInUse(source)) return absl::OkStatus();
  absl::StatusOr<RevocationList> verified = RevocationList::Verify(files.list, files.authority);
  if (!verified.ok()) return Annotate(verified.status(), paths_.list.string());
  const std::lock_guard lock(mutex_);
  RETURN_IF_ERROR(Annotate(verified->CheckFollows(*list_), paths_.list.string()));
  if (verified->digest() != list_->digest()) {
    list_ = std::make_shared<const RevocationList>(*std::move(verified));
    pem_ = files.list;
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
