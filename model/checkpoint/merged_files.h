// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <filesystem>
#include <map>
#include <string>

#include "absl/status/statusor.h"
#include "model/checkpoint/merge_plan.h"

namespace fedtune {

// Where the content of a merged checkpoint's file comes from.
struct MergedFile {
  std::filesystem::path copy_of;  // Empty: `content`.
  std::string content;

  // Errors as ReadFile().
  absl::StatusOr<std::string> Read() const;
};

// The files of a merged checkpoint besides its shards, by their paths in its folder: those of
// the base that hold no weights (configuration, tokenizer, additional_chat_templates), and
// what `plan` changes. Other sub-folders and hidden files are left out. Reads nothing but the
// folders' lists and what the plan changes.
//
// Errors as MergePlan::ChangedFiles(), and ErrnoToStatus() where a folder cannot be listed.
absl::StatusOr<std::map<std::filesystem::path, MergedFile>> OtherMergedFiles(
    const std::filesystem::path& base, const MergePlan& plan);

}  // namespace fedtune
