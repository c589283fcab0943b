// SPDX-License-Identifier: Apache-2.0

#include "simulation/real_sites.h"

#include <map>
#include <string>
#include <system_error>

#include "client/commands/records.h"
#include "fmt/format.h"

namespace fedtune::simulation {

absl::StatusOr<std::vector<RealSite>> FindRealSites(const std::vector<std::filesystem::path>& data,
                                                    std::optional<int64_t> clients) {
  std::map<std::string, std::filesystem::path> folders;
  for (const std::filesystem::path& folder : data) {
    std::error_code error;
    for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
      if (!std::filesystem::exists(entry.path() / "train.jsonl")) continue;
      const std::string name = entry.path().filename().string();
      if (!folders.emplace(name, entry.path()).second) {
        return absl::InvalidArgumentError(
            fmt::format("two folders of --data are of the institution {}", name));
      }
    }
    if (error) {
      return absl::InvalidArgumentError(
          fmt::format("{} cannot be listed: {}", folder.string(), error.message()));
    }
  }
  if (folders.empty()) {
    return absl::InvalidArgumentError(
        "no folder with a train.jsonl is in --data; real training needs one for each institution");
  }
  if (clients && *clients != std::ssize(folders)) {
    return absl::InvalidArgumentError(
        fmt::format("{} clients are asked for, and {} institutions have a folder in --data; "
                    "leave out --clients, or train synthetically",
                    *clients, folders.size()));
  }
  std::vector<RealSite> sites;
  for (const auto& [name, folder] : folders) {
    const std::filesystem::path eval = folder / "eval.jsonl";
    DatasetConfig dataset{.name = name,
                          .train = folder / "train.jsonl",
                          .eval = std::filesystem::exists(eval) ? eval : std::filesystem::path()};
    sites.push_back({.institution = name,
                     .load_records = LoaderOf(
                         {std::move(dataset)}, [](const auto&, const auto&) {},
                         [](const auto&) { return ReadingObserver(); })});
  }
  return sites;
}

}  // namespace fedtune::simulation
