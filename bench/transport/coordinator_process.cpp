// SPDX-License-Identifier: Apache-2.0

#include "bench/transport/coordinator_process.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "base/files.h"
#include "base/status_macros.h"
#include "fmt/format.h"

extern char** environ;

namespace fedtune::bench {
namespace {

// The number behind "listening on HOST:" in the program's first line; 0: there
// is none.
int ReadPort(int pipe) {
  std::string line;
  char c = 0;
  while (::read(pipe, &c, 1) == 1 && c != '\n') line += c;
  const size_t colon = line.rfind(':');
  return colon == std::string::npos ? 0 : std::atoi(line.c_str() + colon + 1);
}

absl::StatusOr<pid_t> Spawn(std::vector<std::string> words, int output,
                            const std::filesystem::path& log) {
  std::vector<char*> arguments;
  arguments.reserve(words.size() + 1);
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
  ::posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, log.c_str(),
                                     O_WRONLY | O_CREAT | O_TRUNC, 0644);
  pid_t pid = 0;
  const int error = ::posix_spawn(&pid, arguments[0], &actions, nullptr, arguments.data(), environ);
  ::posix_spawn_file_actions_destroy(&actions);
  if (error != 0) return ErrnoToStatus(error, "start", words[0]);
  return pid;
}

}  // namespace

absl::StatusOr<std::unique_ptr<CoordinatorProcess>> CoordinatorProcess::Start(
    const std::filesystem::path& program, const std::filesystem::path& state) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return ErrnoToStatus(errno, "make a pipe for", program);
  const std::filesystem::path log = state / "log";
  const auto pid = Spawn({program.string(), "serve", "--state-dir", state.string(), "--listen",
                          "127.0.0.1:0", "--signing-roster", RosterIn(state).string()},
                         ends[1], log);
  ::close(ends[1]);
  const int port = pid.ok() ? ReadPort(ends[0]) : 0;
  ::close(ends[0]);
  RETURN_IF_ERROR(pid.status());
  std::unique_ptr<CoordinatorProcess> process(new CoordinatorProcess(*pid, port));
  if (port != 0) return process;
  process.reset();
  return absl::InternalError(
      fmt::format("{} did not start:\n{}", program.string(), ReadFile(log).value_or("")));
}

CoordinatorProcess::~CoordinatorProcess() {
  ::kill(pid_, SIGTERM);
  ::waitpid(pid_, nullptr, 0);
}

absl::StatusOr<absl::Duration> CoordinatorProcess::CpuTime() const {
  std::ifstream file(fmt::format("/proc/{}/stat", pid_));
  std::string text;
  std::getline(file, text);
  // Fields 14 and 15, counted on from the name in brackets, which is field 2.
  std::istringstream fields(text.substr(std::min(text.size(), text.rfind(')') + 1)));
  std::string skipped;
  for (int i = 3; i < 14; ++i) fields >> skipped;
  int64_t user = 0;
  int64_t system = 0;
  if (!(fields >> user >> system)) return absl::InternalError("the coordinator has ended");
  return absl::Seconds(static_cast<double>(user + system) /
                       static_cast<double>(::sysconf(_SC_CLK_TCK)));
}

absl::StatusOr<uint64_t> CoordinatorProcess::PeakMemory() const {
  std::ifstream file(fmt::format("/proc/{}/status", pid_));
  for (std::string line; std::getline(file, line);) {
    uint64_t kilobytes = 0;
    if (std::sscanf(line.c_str(), "VmHWM: %lu kB", &kilobytes) == 1) return kilobytes << 10;
  }
  return absl::InternalError("the coordinator has ended");
}

}  // namespace fedtune::bench
