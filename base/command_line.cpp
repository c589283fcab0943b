// SPDX-License-Identifier: Apache-2.0

#include "base/command_line.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <string_view>
#include <system_error>
#include <utility>

#include "absl/status/statusor.h"
#include "base/exhaustion.h"
#include "base/files.h"
#include "base/printable_text.h"
#include "base/progress.h"
#include "base/shell_completion.h"
#include "base/status.h"
#include "base/status_macros.h"
#include "fmt/format.h"

namespace fedtune {
namespace {

constexpr char kExitCodes[] =
    "Exit codes:\n"
    "  0 done; 1 failed; 2 wrong usage or configuration; 3 refused by a policy, a role or a\n"
    "  signature; 4 the other side does not answer; 5 a run ended without its goal";

std::string Footer(const std::vector<std::string>& examples) {
  std::string footer;
  if (!examples.empty()) {
    footer = "Examples:";
    for (const std::string& example : examples) footer += "\n  " + example;
    footer += "\n\n";
  }
  return footer + kExitCodes;
}

void Print(std::FILE* stream, std::string_view text) {
  std::fwrite(text.data(), 1, text.size(), stream);
}

// The command deepest in the tree that was given.
const CLI::App& Chosen(const CLI::App& root) {
  const CLI::App* chosen = &root;
  while (!chosen->get_subcommands().empty()) chosen = chosen->get_subcommands().front();
  return *chosen;
}

// "fedtune run start".
std::string FullName(const CLI::App& command) {
  const CLI::App* parent = command.get_parent();
  return parent == nullptr ? command.get_name() : FullName(*parent) + " " + command.get_name();
}

// A file or a connection of ours that took the place of a stream which the caller has
// closed would be printed into.
void FillStandardStreams() {
  int fd = ::open("/dev/null", O_RDWR);
  while (fd >= 0 && fd <= STDERR_FILENO) fd = ::open("/dev/null", O_RDWR);
  if (fd >= 0) ::close(fd);
}

// Of a value for which a flag has a least one, but no greatest.
constexpr std::string_view kNoGreatest = "17976931348623157";

std::string ValueProblem(const CLI::ParseError& error) {
  std::string problem = error.what();
  const size_t range = problem.find(" not in range");
  if (range == std::string::npos || problem.find(kNoGreatest, range) == std::string::npos) {
    return problem;
  }
  return problem.substr(0, range) + " is too small";
}

// What is wrong with the usage of `command`, the last that was understood.
std::string Problem(const CLI::App& root, const CLI::App& command, const CLI::ParseError& error) {
  if (command.get_require_subcommand_min() == 0) return ValueProblem(error);
  const std::vector<std::string> unknown = root.remaining(/*recurse=*/true);
  std::vector<std::string> names;
  for (const CLI::App* known : command.get_subcommands([](const CLI::App*) { return true; })) {
    names.push_back(known->get_name());
  }
  return fmt::format("{}; there is {}",
                     unknown.empty() ? "a command is missing"
                                     : fmt::format("unknown command \"{}\"", unknown.front()),
                     fmt::join(names, ", "));
}

// What a parse ended early with: help and version are no errors.
int Explain(const CLI::App& root, const CLI::ParseError& error) {
  if (error.get_name() == "CallForHelp") {
    Print(stdout, root.help());
    return static_cast<int>(ExitCode::kDone);
  }
  if (error.get_name() == "CallForVersion") {
    Print(stdout, fmt::format("{}\n", error.what()));
    return static_cast<int>(ExitCode::kDone);
  }
  const CLI::App& command = Chosen(root);
  PrintError(absl::InvalidArgumentError(Problem(root, command, error)));
  Print(stderr, fmt::format("see: {} --help\n", FullName(command)));
  return static_cast<int>(ExitCode::kUsage);
}

}  // namespace

void PrintError(const absl::Status& status) {
  std::fflush(stdout);  // Where both go to one place, results stand before what is wrong.
  const std::string_view label = WantsColour(stderr) ? "\x1b[31merror:\x1b[0m" : "error:";
  Print(stderr, fmt::format("{} {}\n", label, PrintableLines(Message(status))));
}

CommandLine::CommandLine(CommandText program) : root_(program.summary, program.name) {
  root_.footer(Footer(program.examples));
  root_.set_help_flag("-h,--help", "Show this help");
  root_.set_version_flag("--version", fmt::format("{} {}", program.name, FEDTUNE_VERSION),
                         "Show the version");
  root_.require_subcommand(1);
}

void CommandLine::SetAction(Action action) {
  root_.require_subcommand(0, 1);
  actions_[&root_] = std::move(action);
}

CLI::App& CommandLine::Add(const CommandText& text, Action action) {
  return AddTo(root_, text, std::move(action));
}

CLI::App& CommandLine::AddGroup(const CommandText& text) {
  CLI::App& group = AddCommand(root_, text);
  group.require_subcommand(1);
  return group;
}

CLI::App& CommandLine::AddTo(CLI::App& group, const CommandText& text, Action action) {
  CLI::App& command = AddCommand(group, text);
  actions_[&command] = std::move(action);
  return command;
}

CLI::App& CommandLine::AddCommand(CLI::App& parent, const CommandText& text) {
  CLI::App& command = *parent.add_subcommand(text.name, text.summary);
  command.footer(Footer(text.examples));
  command.fallthrough();  // The program's options are understood behind a command, too.
  return command;
}

void CommandLine::AddCompletion() {
  const std::string& program = root_.get_name();
  CLI::App& completion =
      Add({.name = "completion",
           .summary = "Prints the script that completes this program's commands in a shell.",
           .examples = {fmt::format("source <({} completion bash)", program),
                        fmt::format("{0} completion zsh > ~/.zfunc/_{0}", program),
                        fmt::format("{0} completion fish > ~/.config/fish/completions/{0}.fish",
                                    program)}},
          [this]() -> absl::Status {
            ASSIGN_OR_RETURN(const std::string script, CompletionScript(root_, shell_));
            Print(stdout, script);
            return absl::OkStatus();
          });
  completion.add_option("shell", shell_, "bash, zsh or fish")->required();
}

int CommandLine::Run(int argc, const char* const* argv) {
  ExplainExhaustion();
  FillStandardStreams();
  AddCompletion();
  const int code = ParseAndRun(argc, argv);
  if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return code;
  PrintError(absl::InternalError("the output could not be written; is the disk full?"));
  return code == static_cast<int>(ExitCode::kDone) ? static_cast<int>(ExitCode::kFailed) : code;
}

int CommandLine::ParseAndRun(int argc, const char* const* argv) {
  try {
    root_.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return Explain(root_, error);
  }
  const absl::Status status = RunChosen();
  if (!status.ok()) PrintError(status);
  return ExitCodeFor(status);
}

absl::Status CommandLine::RunChosen() const {
  try {
    return actions_.at(&Chosen(root_))();
  } catch (const std::filesystem::filesystem_error& error) {
    return OfNamedFile(ErrnoToStatus(error.code().value(), "look at", error.path1()));
  } catch (const std::system_error&) {
    // fmt::print() throws where it cannot write; Run() says so.
    if (std::ferror(stdout) != 0) return absl::OkStatus();
    throw;
  }
}

}  // namespace fedtune
