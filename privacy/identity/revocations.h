// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <filesystem>
#include <memory>
#include <mutex>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "privacy/identity/certificate.h"
#include "privacy/identity/revocation_list.h"

namespace fedtune {

// The list of revoked certificates that is in use, from a file in whose place a newer one
// is put. Thread-safe.
class Revocations {
 public:
  // Of the files that a configuration names; null if it names no list: nobody is revoked.
  // Errors as RevocationList::Load(), with the key's name.
  static absl::StatusOr<std::shared_ptr<Revocations>> Open(std::filesystem::path list,
                                                           std::filesystem::path authority);

  // Takes what the file holds now. If it is not to be taken the one in use stays. Errors as
  // RevocationList::Load() and CheckFollows(), with the file's name.
  absl::Status Refresh();

  // Never null.
  std::shared_ptr<const RevocationList> list() const;

  // As RevocationList::CheckNotRevoked(), of the list in use.
  absl::Status CheckNotRevoked(const Certificate& certificate) const {
    return list()->CheckNotRevoked(certificate.identity, certificate.serial);
  }

 private:
  Revocations(std::filesystem::path path, std::filesystem::path authority, RevocationList list)
      : path_(std::move(path)),
        authority_(std::move(authority)),
        list_(std::make_shared<const RevocationList>(std::move(list))) {}

  const std::filesystem::path path_;
  const std::filesystem::path authority_;
  mutable std::mutex mutex_;
  std::shared_ptr<const RevocationList> list_;  // Guarded by mutex_.
};

}  // namespace fedtune
