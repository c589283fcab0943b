// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <functional>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "base/exit_code.h"

namespace fedtune {

// "error: ..." on stderr.
void PrintError(const absl::Status& status);

// The words of one command. `summary` is one sentence and the first line of
// its --help; `examples` are whole command lines and stand at its end.
struct CommandText {
  std::string name;
  std::string summary;
  std::vector<std::string> examples;
};

// A program's commands, with --help, --version and `completion` the same way in
// all of them.
//
//   CommandLine line({"fedtune-ca", "Keeps a federation's certificate authority.", {...}});
//   InitOptions init;
//   CLI::App& command = line.Add({"init", "Makes the authority.", {...}},
//                                [&] { return Init(init); });
//   command.add_option("--dir", init.directory, "Where it lives")->required();
//   return line.Run(argc, argv);
//
// What the lambdas capture must outlive Run(). Not thread-safe.
class CommandLine {
 public:
  using Action = std::function<absl::Status()>;

  explicit CommandLine(CommandText program);
  CommandLine(const CommandLine&) = delete;
  CommandLine& operator=(const CommandLine&) = delete;

  // For options of the program itself, which are understood before and behind commands.
  CLI::App& root() { return root_; }

  // What the program does when no command is given; without it one is needed.
  void SetAction(Action action);

  // A command: `fedtune-ca init`.
  CLI::App& Add(const CommandText& text, Action action);

  // A noun that has commands, `fedtune run`, and one of them,
  // `fedtune run start`.
  CLI::App& AddGroup(const CommandText& text);
  CLI::App& AddTo(CLI::App& group, const CommandText& text, Action action);

  // Reads the arguments, runs the chosen command and returns the exit code.
  // Wrong usage and errors are explained on stderr, memory that is not there, too
  // (base/exhaustion.h). Call it once.
  int Run(int argc, const char* const* argv);

 private:
  CLI::App& AddCommand(CLI::App& parent, const CommandText& text);
  void AddCompletion();
  int ParseAndRun(int argc, const char* const* argv);
  absl::Status RunChosen() const;

  CLI::App root_;
  absl::flat_hash_map<const CLI::App*, Action> actions_;
  std::string shell_;  // The argument of `completion`.
};

}  // namespace fedtune
