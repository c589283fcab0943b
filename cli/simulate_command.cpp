// SPDX-License-Identifier: Apache-2.0

#include "cli/simulate_command.h"

#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <memory>
#include <string>
#include <system_error>
#include <vector>

#include "cli/simulate_arguments.h"
#include "fmt/format.h"

namespace fedtune {
namespace {

constexpr char kProgram[] = "fedtune-simulate";

// The flags of the program that matter to it.
std::vector<std::string> CommandLineOf(const Session& session, const SimulateArguments& given) {
  std::vector<std::string> line = ToCommandLine(given);
  line.insert(line.begin(), kProgram);
  const auto add = [&](const char* option, const std::optional<std::string>& value) {
    if (value) line.insert(line.end(), {option, *value});
  };
  add("--config", session.flags.file);
  for (const std::string& folder : session.flags.models) add("--models", folder);
  if (session.json) line.emplace_back("--json");
  return line;
}

// Returns only if it cannot be started.
absl::Status Become(std::vector<std::string> line) {
  std::error_code error;
  const std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe", error);
  const std::filesystem::path program = self.parent_path() / kProgram;
  std::vector<char*> arguments;
  arguments.reserve(line.size() + 1);
  for (std::string& argument : line) arguments.push_back(argument.data());
  arguments.push_back(nullptr);
  ::execv(program.c_str(), arguments.data());
  if (errno == ENOENT) {
    return absl::NotFoundError(
        fmt::format("there is no {}; it belongs beside {}, with the package of the client",
                    program.string(), self.filename().string()));
  }
  return absl::InternalError(
      fmt::format("{} cannot be started: {}", program.string(), std::strerror(errno)));
}

}  // namespace

void AddSimulateCommand(CommandLine& line, Session& session) {
  const auto arguments = std::make_shared<SimulateArguments>();
  CLI::App& command = line.Add(SimulateText("simulate", "fedtune simulate"), [&session, arguments] {
    return Become(CommandLineOf(session, *arguments));
  });
  AddSimulateOptions(command, *arguments);
  AddJsonFlag(command, session);
}

}  // namespace fedtune
