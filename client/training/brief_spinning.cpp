// SPDX-License-Identifier: Apache-2.0

#include "client/training/brief_spinning.h"

#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <utility>

namespace fedtune {

std::optional<std::vector<std::string>> WithBriefSpinning(std::vector<std::string> environment) {
  const auto says_how = [](const std::string& variable) {
    return variable.starts_with("OMP_WAIT_POLICY=") || variable.starts_with("GOMP_SPINCOUNT=");
  };
  if (std::any_of(environment.begin(), environment.end(), says_how)) return std::nullopt;
  environment.emplace_back("GOMP_SPINCOUNT=3000");
  return environment;
}

void SpinBriefly(char** argv) {
  std::vector<std::string> variables;
  for (char** variable = environ; *variable != nullptr; ++variable)
    variables.emplace_back(*variable);
  auto changed = WithBriefSpinning(std::move(variables));
  std::error_code error;
  // The path rather than the link: `ps` shows its last part.
  const std::filesystem::path program = std::filesystem::read_symlink("/proc/self/exe", error);
  if (!changed.has_value() || error) return;
  std::vector<char*> environment;
  for (std::string& variable : *changed) environment.push_back(variable.data());
  environment.push_back(nullptr);
  ::execve(program.c_str(), argv, environment.data());
}

}  // namespace fedtune
