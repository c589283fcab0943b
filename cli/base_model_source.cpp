// SPDX-License-Identifier: Apache-2.0

#include "cli/base_model_source.h"

#include <string>
#include <system_error>
#include <vector>

#include "base/clock.h"
#include "base/printable_text.h"
#include "base/progress.h"
#include "base/status.h"
#include "base/status_macros.h"
#include "fmt/format.h"
#include "fmt/ranges.h"
#include "plan/base_model_digest.h"

namespace fedtune {
namespace {

// The folders in which the plan's base model may lie, the likeliest first.
std::vector<std::filesystem::path> Candidates(const Plan& plan,
                                              const std::filesystem::path& plan_folder,
                                              const Configuration& configuration) {
  std::vector<std::filesystem::path> candidates = {plan_folder / plan.base_model};
  for (const std::filesystem::path& folder : configuration.models) {
    const std::filesystem::path candidate = folder / plan.base_model;
    // All are the same if the plan has an absolute path.
    if (candidate != candidates.front()) candidates.push_back(candidate);
  }
  return candidates;
}

// A misspelt one would go unnoticed where another folder, or the catalogue, has the model.
absl::Status CheckModelFolders(const Configuration& configuration) {
  for (const std::filesystem::path& folder : configuration.models) {
    std::error_code error;
    if (std::filesystem::is_directory(folder, error)) continue;
    return absl::InvalidArgumentError(
        fmt::format("models, or --models, names {}, and there is no such folder", folder.string()));
  }
  return absl::OkStatus();
}

absl::StatusOr<BaseModelDigests> DigestWithProgress(const std::filesystem::path& directory) {
  const SystemClock clock;
  ProgressLine progress(fmt::format("reading {}", directory.filename().string()), clock);
  return DigestBaseModel(directory, [&progress](double fraction) { progress.Update(fraction); });
}

// The digest by which the run goes.
absl::StatusOr<std::string> AgreedDigest(const Plan& plan, const BaseModelDescription& found,
                                         const BaseModelDigests& digests, std::string_view where) {
  if (plan.base_digest.empty() || plan.base_digest == digests.digest) return digests.digest;
  if (plan.base_digest == digests.earlier) {
    fmt::print(stderr,
               "{}: goes by an earlier digest, which says nothing of the tokenizer's configuration "
               "and the chat template; the one that covers them is {}\n",
               found.name, digests.digest);
    return plan.base_digest;
  }
  return absl::InvalidArgumentError(
      fmt::format("{} in {} has the digest {}, but the plan wants base_digest {}; give the "
                  "folder of the right copy (--models), or correct base_digest",
                  found.name, where, digests.digest, plan.base_digest));
}

absl::StatusOr<BaseModelSource> FromFolder(const Plan& plan, const std::filesystem::path& folder) {
  ASSIGN_OR_RETURN(BaseModelDescription description, DescribeBaseModel(folder));
  ASSIGN_OR_RETURN(const BaseModelDigests digests, DigestWithProgress(folder));
  ASSIGN_OR_RETURN(description.digest, AgreedDigest(plan, description, digests, folder.string()));
  return BaseModelSource{std::move(description), folder};
}

// NOT_FOUND: its message is the place.
absl::StatusOr<BaseModelSource> FromCatalogue(const Plan& plan,
                                              const CoordinatorConnection& connection) {
  ASSIGN_OR_RETURN(const v1::ListModelsResponse models, connection.ListModels());
  std::string place = "the coordinator's catalogue";
  for (const v1::ModelEntry& model : models.models()) {
    if (model.name() != plan.base_model) continue;
    if (!plan.base_digest.empty() && model.digest() != plan.base_digest) {
      place += fmt::format(" (with the digest {}, and the plan wants {})", model.digest(),
                           plan.base_digest);
      continue;
    }
    ASSIGN_OR_RETURN(BaseModelDescription description,
                     BaseModelDescriptionFromJson(model.base_model_json()));
    description.name = PrintableText(description.name);
    return BaseModelSource{std::move(description), std::nullopt};
  }
  return absl::NotFoundError(place);
}

}  // namespace

absl::StatusOr<BaseModelSource> FindBaseModel(const Plan& plan,
                                              const std::filesystem::path& plan_folder,
                                              const Configuration& configuration,
                                              const CoordinatorConnection* connection) {
  RETURN_IF_ERROR(CheckModelFolders(configuration));
  std::vector<std::string> tried;
  for (const std::filesystem::path& folder : Candidates(plan, plan_folder, configuration)) {
    tried.push_back(folder.string());
    if (!std::filesystem::exists(folder / "config.json")) continue;
    return FromFolder(plan, folder);
  }
  if (connection != nullptr) {
    auto source = FromCatalogue(plan, *connection);
    if (source.ok() || !absl::IsNotFound(source.status())) return source;
    tried.emplace_back(Message(source.status()));
  }
  return absl::NotFoundError(
      fmt::format("base model \"{}\" was not found; looked in {}; name its folder's parent with "
                  "--models, or put a path into the plan's base_model",
                  plan.base_model, fmt::join(tried, ", ")));
}

}  // namespace fedtune
