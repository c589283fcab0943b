// SPDX-License-Identifier: Apache-2.0

#include "client/round/base_model_shelf.h"

#include <string>
#include <utility>

#include "base/status.h"
#include "base/status_macros.h"
#include "fmt/format.h"

namespace fedtune {

absl::StatusOr<LocalBaseModel> ReadBaseModel(const std::filesystem::path& directory,
                                             const ModelObserver& observe) {
  LocalBaseModel model;
  model.directory = directory;
  ASSIGN_OR_RETURN(model.files, ModelFilesIn(directory));
  ASSIGN_OR_RETURN(model.description, DescribeBaseModel(directory));
  ASSIGN_OR_RETURN(BaseModelDigests digests, DigestBaseModel(directory, observe));
  ASSIGN_OR_RETURN(const std::vector<ModelFile> afterwards, ModelFilesIn(directory));
  if (afterwards != model.files) {
    return absl::InternalError(
        fmt::format("the base model in {} changed while it was read", directory.string()));
  }
  model.description.digest = std::move(digests.digest);
  model.earlier_digest = std::move(digests.earlier);
  return model;
}

absl::StatusOr<LocalBaseModel> BaseModelShelf::Read(const std::filesystem::path& directory) {
  if (const auto found = read_.find(directory); found != read_.end()) {
    const auto files = ModelFilesIn(directory);
    if (files.ok() && *files == found->second.files) return found->second;
    read_.erase(found);
  }
  ASSIGN_OR_RETURN(LocalBaseModel model, ReadBaseModel(directory, observer_of_(directory)));
  return read_.emplace(directory, std::move(model)).first->second;
}

absl::StatusOr<LocalBaseModel> BaseModelShelf::Find(std::string_view digest) {
  const std::lock_guard lock(mutex_);
  std::string problems;
  for (const std::filesystem::path& directory : directories_) {
    absl::StatusOr<LocalBaseModel> model = Read(directory);
    if (!model.ok()) {
      problems += fmt::format("; {}", Message(model.status()));
    } else if (digest == model->description.digest || digest == model->earlier_digest) {
      return model;
    }
  }
  return absl::NotFoundError(
      fmt::format("base model {} is not on its machine{}", digest, problems));
}

}  // namespace fedtune
