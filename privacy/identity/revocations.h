// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "privacy/crypto/sha256.h"
#include "privacy/identity/certificate.h"
#include "privacy/identity/revocation_list.h"

namespace fedtune {

// The name of a daemon's copy, in its state directory.
inline constexpr std::string_view kKeptRevocationList = "revocation_list.pem";

// The list of revoked certificates that is in use, from a file in whose place a newer one
// is put; with a copy of the newest that was ever in use, so that no older one is taken by
// a later process either. Thread-safe.
class Revocations {
 public:
  // Of the files that a configuration names; null if it names no list: nobody is revoked.
  // `kept` is where Keep() has its copy; empty: nowhere. A copy that is there and is not of
  // this authority counts for nothing.
  // Errors as RevocationList::Load() and CheckFollows(), with the key's name; others if the
  // copy cannot be read.
  static absl::StatusOr<std::shared_ptr<Revocations>> Open(std::filesystem::path list,
                                                           std::filesystem::path authority,
                                                           std::filesystem::path kept = {});

  // Takes what the file holds now; nothing is parsed where neither file has changed. If it
  // is not to be taken the one in use stays. Errors as RevocationList::Load() and
  // CheckFollows(), with the file's name.
  absl::Status Refresh();

  // Has the copy be the list in use; writes nothing where it is. Errors as
  // WriteFileAtomically().
  absl::Status Keep();

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
    std::string pem;  // Of it.
    Source source;
  };
  struct Paths {
    std::filesystem::path list;
    std::filesystem::path authority;
    std::filesystem::path kept;
  };

  Revocations(Paths paths, Loaded loaded)
      : paths_(std::move(paths)),
        list_(std::make_shared<const RevocationList>(std::move(loaded.list))),
        pem_(std::move(loaded.pem)),
        source_(loaded.source) {}

  static absl::Status CheckFollowsKept(const RevocationList& list, const Paths& paths,
                                       std::string_view authority_pem);

  static Source SourceOf(const RevocationFiles& files);
  bool IsInUse(const Source& source) const;

  const Paths paths_;
  mutable std::mutex mutex_;
  std::shared_ptr<const RevocationList> list_;  // Guarded by mutex_.
  std::string pem_;                             // Likewise; of it.
  Source source_;                               // Likewise.
  std::optional<Digest> kept_;                  // Likewise: of the list that Keep() has written.
};

}  // namespace fedtune
