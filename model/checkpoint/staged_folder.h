// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <filesystem>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/file_claim.h"

namespace fedtune {

// ALREADY_EXISTS: there is something at `target` that is not an empty folder.
absl::Status CheckNothingAt(const std::filesystem::path& target);

// The name that a folder has until it is whole: "<target>.partial", whether or not `target` ends
// in a slash.
std::filesystem::path PartialFolder(const std::filesystem::path& target);

// A folder that is filled under the name PartialFolder() and gets its final
// name when it is complete; otherwise it goes. Two at a time cannot fill one: a file beside it,
// "<target>.partial.lock", keeps others out meanwhile. Movable; not thread-safe.
class StagedFolder {
 public:
  // Removes what an earlier attempt may have left under the temporary name.
  //
  // ALREADY_EXISTS: as CheckNothingAt(). FAILED_PRECONDITION: somebody else is filling it at
  // this moment. PERMISSION_DENIED, INTERNAL: the folder cannot be made.
  static absl::StatusOr<StagedFolder> Create(const std::filesystem::path& target);

  // The same, but what an earlier attempt with the same `mark`, which must say all
  // that the files depend on, has completed stays. What it was writing goes, in sub-folders too.
  // Errors as Create(); INTERNAL also where that cannot be removed, and then all stays.
  static absl::StatusOr<StagedFolder> Resume(const std::filesystem::path& target,
                                             std::string_view mark);

  StagedFolder(StagedFolder&& other) noexcept;
  StagedFolder& operator=(StagedFolder&& other) noexcept;
  ~StagedFolder();

  // Where to put the files.
  const std::filesystem::path& path() const { return staging_; }

  // Gives the folder its final name, which is on the disk when it returns. Errors as
  // RenameDurably(), also where something has come to be there meanwhile: the folder goes then.
  absl::Status Commit() &&;

  // What is in it stays for Resume().
  void Leave() && { staging_.clear(); }

 private:
  StagedFolder(FileClaim claim, std::filesystem::path target);

  static absl::StatusOr<StagedFolder> Claim(const std::filesystem::path& target);
  absl::Status Begin();  // Anew.

  FileClaim claim_;                // First: goes after the folder.
  std::filesystem::path staging_;  // Empty when moved from or committed.
  std::filesystem::path target_;
};

}  // namespace fedtune
