// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <filesystem>
#include <memory>
#include <mutex>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "privacy/crypto/sha256.h"
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

  // Takes what the file holds now; nothing is parsed where neither file has changed. If it
  // is not to be taken the one in use stays. Errors as RevocationList::Load() and
  // CheckFollows(), with the file's name.
  absl::Status Refresh();

  // Never null.
  std::shared_ptr<const RevocationList> list() const;

  // As RevocationList::CheckNotRevoked(), of the list in use.
  absl::Status CheckNotRevoked(const Certificate& certificate) const {
    return list()->CheckNotRevoked(certificate.identity, certificate.serial);
  }

 private:
  // The files of which a list was read: as long as they are the same so is the list.
  struct Source {
    Digest list;
    Digest authority;

    friend bool operator==(const Source&, const Source&) = default;
  };

  struct Loaded {
    RevocationList list;
    Source source;
  };

  Revocations(std::filesystem::path path, std::filesystem::path authority, Loaded loaded)
      : path_(std::move(path)),
        authority_(std::move(authority)),
        list_(std::make_shared<const RevocationList>(std::move(loaded.list))),
        source_(loaded.source) {}

  static Source SourceOf(const RevocationFiles& files);
  bool IsInUse(const Source& source) const;

  const std::filesystem::path path_;
  const std::filesystem::path authority_;
  mutable std::mutex mutex_;
  std::shared_ptr<const RevocationList> list_;  // Guarded by mutex_.
  Source source_;                               // Guarded by mutex_.
};

}  // namespace fedtune
