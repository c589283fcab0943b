// SPDX-License-Identifier: Apache-2.0

#include "simulation/state_folder.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <string>
#include <system_error>

#include "fmt/format.h"

namespace fedtune::simulation {
namespace {

// Starts a process that removes `folder` when nobody can write to what `input` reads
// from any more. It has a session of its own, so that Ctrl-C does not reach it. A
// number of errno, or 0.
int StartRemover(const std::filesystem::path& folder, int input, pid_t& process) {
  std::string path = folder.string();
  std::string shell = "/bin/sh";
  std::string flag = "-c";
  std::string script = "read -r _; exec rm -rf -- \"$0\"";
  std::array<char*, 5> argv = {shell.data(), flag.data(), script.data(), path.data(), nullptr};
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, input, STDIN_FILENO);
  ::posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
  ::posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
  posix_spawnattr_t attributes;
  ::posix_spawnattr_init(&attributes);
  ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID);
  const int failed =
      ::posix_spawn(&process, shell.c_str(), &actions, &attributes, argv.data(), environ);
  ::posix_spawnattr_destroy(&attributes);
  ::posix_spawn_file_actions_destroy(&actions);
  return failed;
}

absl::Status CannotBeMade(const std::filesystem::path& path, int error) {
  return absl::InternalError(fmt::format("cannot make a temporary folder {}: {}", path.string(),
                                         std::generic_category().message(error)));
}

}  // namespace

absl::StatusOr<StateFolder> StateFolder::Make(const std::optional<std::filesystem::path>& wanted) {
  std::error_code error;
  if (wanted) {
    if (!std::filesystem::exists(*wanted, error) || std::filesystem::is_empty(*wanted, error)) {
      return StateFolder(*wanted);
    }
    return absl::InvalidArgumentError(
        fmt::format("{} is not empty; give --state a new folder", wanted->string()));
  }
  const std::filesystem::path memory = "/dev/shm";
  const std::filesystem::path parent =
      ::access(memory.c_str(), W_OK) == 0 ? memory : std::filesystem::temp_directory_path(error);
  std::string pattern = (parent / "fedtune-simulate-XXXXXX").string();
  if (::mkdtemp(pattern.data()) == nullptr) {
    return CannotBeMade(pattern, errno);
  }
  return MakeTemporary(pattern);
}

absl::StatusOr<StateFolder> StateFolder::MakeTemporary(std::filesystem::path path) {
  StateFolder folder(std::move(path));
  std::array<int, 2> ends{};
  int failed = ::pipe2(ends.data(), O_CLOEXEC) == 0 ? 0 : errno;
  if (failed == 0) {
    const Descriptor input(ends[0]);
    folder.open_ = std::make_unique<const Descriptor>(ends[1]);
    failed = StartRemover(folder.path_, input.get(), folder.remover_);
  }
  if (failed == 0) return folder;
  folder.open_.reset();
  ::rmdir(folder.path_.c_str());
  return CannotBeMade(folder.path_, failed);
}

StateFolder::~StateFolder() {
  if (open_ == nullptr) return;
  open_.reset();
  while (::waitpid(remover_, nullptr, 0) < 0 && errno == EINTR) {
  }
}

}  // namespace fedtune::simulation
