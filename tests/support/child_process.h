// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <filesystem>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "base/check.h"
#include "base/files.h"

namespace fedtune::testing {

// A program that runs beside the test, and is killed at the latest when the scope
// ends. What it writes to stderr lies in a file.
class ChildProcess {
 public:
  ChildProcess(std::vector<std::string> command, std::filesystem::path errors)
      : errors_(std::move(errors)) {
    std::array<int, 2> out{};
    Check(::pipe2(out.data(), O_CLOEXEC) == 0, "a pipe can be made");
    std::vector<char*> argv;
    for (std::string& word : command) argv.push_back(word.data());
    argv.push_back(nullptr);
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_adddup2(&actions, out[1], STDOUT_FILENO);
    ::posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, errors_.c_str(),
                                       O_WRONLY | O_CREAT | O_TRUNC, 0600);
    const int failed = ::posix_spawn(&pid_, argv[0], &actions, nullptr, argv.data(), environ);
    ::posix_spawn_file_actions_destroy(&actions);
    ::close(out[1]);
    out_ = out[0];
    Check(failed == 0, "the program starts");
  }
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;
  ~ChildProcess() {
    if (!ended_.has_value()) {
      Signal(SIGKILL);
      Wait(absl::InfiniteDuration());
    }
    ::close(out_);
  }

  pid_t pid() const { return pid_; }
  void Signal(int signal) const { ::kill(pid_, signal); }

  // Returns when all of its threads stand still. SIGCONT lets it go on.
  void Pause() const {
    Signal(SIGSTOP);
    Check(::waitpid(pid_, nullptr, WUNTRACED) == pid_, "the program stops");
  }

  // The next line of its stdout; what there is of one when it has ended.
  std::string ReadLine() {
    std::string line;
    for (char c = 0; ::read(out_, &c, 1) == 1 && c != '\n';) line += c;
    return line;
  }

  // What it has written to stderr so far.
  std::string Errors() const { return ReadFile(errors_).value_or(""); }

  // Its exit code, 128 and the signal if that ended it; nothing if it runs on.
  std::optional<int> Wait(absl::Duration patience) {
    const absl::Time end = absl::Now() + patience;
    while (!ended_.has_value()) {
      int status = 0;
      if (::waitpid(pid_, &status, WNOHANG) == pid_) {
        ended_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
      } else if (absl::Now() > end) {
        return std::nullopt;
      } else {
        absl::SleepFor(absl::Milliseconds(5));
      }
    }
    return ended_;
  }

 private:
  const std::filesystem::path errors_;
  pid_t pid_ = -1;
  int out_ = -1;
  std::optional<int> ended_;
};

}  // namespace fedtune::testing
