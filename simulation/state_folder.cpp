// SPDX-License-Identifier: Apache-2.0

#include "simulation/state_folder.h"

#include <unistd.h>

#include <cstdlib>
#include <string>
#include <system_error>

#include "fmt/format.h"

namespace fedtune::simulation {

absl::StatusOr<StateFolder> StateFolder::Make(const std::optional<std::filesystem::path>& wanted) {
  std::error_code error;
  if (wanted) {
    if (!std::filesystem::exists(*wanted, error) || std::filesystem::is_empty(*wanted, error)) {
      return StateFolder(*wanted, false);
    }
    return absl::InvalidArgumentError(
        fmt::format("{} is not empty; give --state a new folder", wanted->string()));
  }
  const std::filesystem::path memory = "/dev/shm";
  const std::filesystem::path parent =
      ::access(memory.c_str(), W_OK) == 0 ? memory : std::filesystem::temp_directory_path(error);
  std::string pattern = (parent / "fedtune-simulate-XXXXXX").string();
  if (::mkdtemp(pattern.data()) == nullptr) {
    return absl::InternalError(fmt::format("no folder can be made in {}", parent.string()));
  }
  return StateFolder(pattern, true);
}

StateFolder::~StateFolder() {
  std::error_code ignored;
  if (temporary_) std::filesystem::remove_all(path_, ignored);
}

}  // namespace fedtune::simulation
