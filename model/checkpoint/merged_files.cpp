// SPDX-License-Identifier: Apache-2.0

#include "model/checkpoint/merged_files.h"

#include <algorithm>
#include <array>
#include <system_error>
#include <utility>

#include "base/files.h"
#include "base/status_macros.h"
#include "model/checkpoint/checkpoint.h"

namespace fedtune {
namespace {

namespace fs = std::filesystem;
using Files = std::map<fs::path, MergedFile>;

constexpr char kNamedTemplates[] = "additional_chat_templates";

// Files whose content is or lists weights: the merged ones replace them.
bool HoldsWeights(const fs::path& file) {
  constexpr std::array kExtensions = {".safetensors", ".bin", ".pt",      ".pth", ".ckpt",
                                      ".gguf",        ".h5",  ".msgpack", ".onnx"};
  const std::string name = file.filename().string();
  return std::find(kExtensions.begin(), kExtensions.end(), file.extension()) != kExtensions.end() ||
         (name.ends_with(".index.json") && name != kWeightsIndexFile);
}

// Those of a sub-folder of the base ("": of its own) that hold no weights.
absl::Status AddFilesOf(const fs::path& base, const fs::path& folder, Files& files) {
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator(base / folder, error)) {
    const fs::path& path = entry.path();
    std::error_code unreadable;
    if (!entry.is_regular_file(unreadable) || HoldsWeights(path)) continue;
    if (path.filename().string().starts_with('.')) continue;
    files.try_emplace(folder / path.filename(), MergedFile{.copy_of = path, .content = ""});
  }
  return error ? ErrnoToStatus(error.value(), "list", base / folder) : absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::string> MergedFile::Read() const {
  if (copy_of.empty()) return content;
  return ReadFile(copy_of);
}

absl::StatusOr<Files> OtherMergedFiles(const fs::path& base, const MergePlan& plan) {
  ASSIGN_OR_RETURN(auto changed, plan.ChangedFiles());
  Files files;
  for (auto& [name, content] : changed) {
    files[name] = {.copy_of = {}, .content = std::move(content)};
  }
  RETURN_IF_ERROR(AddFilesOf(base, "", files));
  std::error_code unreadable_is_not_there;
  if (!fs::is_directory(base / kNamedTemplates, unreadable_is_not_there)) return files;
  RETURN_IF_ERROR(AddFilesOf(base, kNamedTemplates, files));
  return files;
}

}  // namespace fedtune
