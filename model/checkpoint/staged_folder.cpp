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

absl::StatusOr<StagedFolder> StagedFolder::Create(const fs::path& requested) {
  const fs::path target = WithoutTrailingSlash(requested);
  RETURN_IF_ERROR(CheckNothingAt(target));
  fs::path staging = PartialFolder(target);
  std::error_code error;
  fs::remove_all(staging, error);
  if (error) return ErrnoToStatus(error.value(), "remove", staging);
  RETURN_IF_ERROR(MakeDirectories(staging));
  return StagedFolder(std::move(staging), target);
}

absl::StatusOr<StagedFolder> StagedFolder::Resume(const fs::path& requested,
                                                  std::string_view mark) {
  const fs::path target = WithoutTrailingSlash(requested);
  RETURN_IF_ERROR(CheckNothingAt(target));
  fs::path staging = PartialFolder(target);
  const absl::StatusOr<std::string> found = ReadFile(staging / kMarkFile);
  if (!found.ok() || *found != mark) {
    ASSIGN_OR_RETURN(StagedFolder fresh, Create(requested));
    RETURN_IF_ERROR(WriteFileAtomically(fresh.path() / kMarkFile, mark));
    return fresh;
  }
  RETURN_IF_ERROR(RemoveAllPartialFiles(staging));
  return StagedFolder(std::move(staging), target);
}

StagedFolder::StagedFolder(fs::path staging, fs::path target)
    : staging_(std::move(staging)), target_(std::move(target)) {}

StagedFolder::StagedFolder(StagedFolder&& other) noexcept
    : staging_(std::exchange(other.staging_, {})), target_(std::move(other.target_)) {}

StagedFolder& StagedFolder::operator=(StagedFolder&& other) noexcept {
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
