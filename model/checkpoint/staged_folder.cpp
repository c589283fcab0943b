// SPDX-License-Identifier: Apache-2.0

#include "model/checkpoint/staged_folder.h"

#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "base/files.h"
#include "base/status_macros.h"
#include "fmt/format.h"

namespace fedtune {
namespace {

namespace fs = std::filesystem;

// What the folder's files depend on.
constexpr char kMarkFile[] = ".mark";

// "out/" and "out" name the same folder.
fs::path WithoutTrailingSlash(const fs::path& path) {
  fs::path normal = path.lexically_normal();
  return normal.has_filename() ? normal : normal.parent_path();
}

// In `folder` and the folders in it.
absl::Status RemoveAllPartialFiles(const fs::path& folder) {
  std::vector<fs::path> folders = {folder};
  std::error_code error;
  for (fs::recursive_directory_iterator entry(folder, error), end; !error && entry != end;
       entry.increment(error)) {
    std::error_code is_no_folder;
    if (entry->is_directory(is_no_folder)) folders.push_back(entry->path());
  }
  if (error) return ErrnoToStatus(error.value(), "list", folder);
  for (const fs::path& each : folders) RETURN_IF_ERROR(RemovePartialFiles(each));
  return absl::OkStatus();
}

}  // namespace

fs::path PartialFolder(const fs::path& target) {
  fs::path partial = WithoutTrailingSlash(target);
  partial += kPartialSuffix;
  return partial;
}

absl::Status CheckNothingAt(const fs::path& target) {
  std::error_code error;
  const bool taken = fs::exists(target, error) &&
                     !(fs::is_directory(target, error) && fs::is_empty(target, error));
  if (!taken) return absl::OkStatus();
  return absl::AlreadyExistsError(fmt::format(
      "{} is there already and is not an empty folder; choose another", target.string()));
}

absl::StatusOr<StagedFolder> StagedFolder::Claim(const fs::path& requested) {
  const fs::path target = WithoutTrailingSlash(requested);
  RETURN_IF_ERROR(CheckNothingAt(target));
  if (target.has_parent_path()) RETURN_IF_ERROR(MakeDirectories(target.parent_path()));
  ASSIGN_OR_RETURN(FileClaim claim,
                   FileClaim::Take(PartialFolder(target).concat(".lock"),
                                   fmt::format("{} is being written by another process; let it "
                                               "end, or choose another folder",
                                               target.string())));
  RETURN_IF_ERROR(CheckNothingAt(target));  // Somebody may have completed it meanwhile.
  return StagedFolder(std::move(claim), target);
}

absl::StatusOr<StagedFolder> StagedFolder::Create(const fs::path& target) {
  ASSIGN_OR_RETURN(StagedFolder folder, Claim(target));
  RETURN_IF_ERROR(folder.Begin());
  return folder;
}

absl::StatusOr<StagedFolder> StagedFolder::Resume(const fs::path& target, std::string_view mark) {
  ASSIGN_OR_RETURN(StagedFolder folder, Claim(target));
  const absl::StatusOr<std::string> found = ReadFile(folder.path() / kMarkFile);
  if (!found.ok() || *found != mark) {
    RETURN_IF_ERROR(folder.Begin());
    RETURN_IF_ERROR(WriteFileAtomically(folder.path() / kMarkFile, mark));
    return folder;
  }
  const absl::Status tidied = RemoveAllPartialFiles(folder.path());
  if (tidied.ok()) return folder;
  std::move(folder).Leave();
  return tidied;
}

absl::Status StagedFolder::Begin() {
  std::error_code error;
  fs::remove_all(staging_, error);
  if (error) return ErrnoToStatus(error.value(), "remove", staging_);
  return MakeDirectories(staging_);
}

StagedFolder::StagedFolder(FileClaim claim, fs::path target)
    : claim_(std::move(claim)), staging_(PartialFolder(target)), target_(std::move(target)) {}

StagedFolder::StagedFolder(StagedFolder&& other) noexcept
    : claim_(std::move(other.claim_)),
      staging_(std::exchange(other.staging_, {})),
      target_(std::move(other.target_)) {}

StagedFolder& StagedFolder::operator=(StagedFolder&& other) noexcept {
  std::swap(claim_, other.claim_);
  std::swap(staging_, other.staging_);
  std::swap(target_, other.target_);
  return *this;
}

StagedFolder::~StagedFolder() {
  std::error_code ignored;
  if (!staging_.empty()) fs::remove_all(staging_, ignored);
}

absl::Status StagedFolder::Commit() && {
  if (std::error_code error; !fs::remove(staging_ / kMarkFile, error) && error) {
    return ErrnoToStatus(error.value(), "remove", staging_ / kMarkFile);
  }
  RETURN_IF_ERROR(RenameDurably(staging_, target_));
  staging_.clear();
  return absl::OkStatus();
}

}  // namespace fedtune
