// SPDX-License-Identifier: Apache-2.0

#include "base/command_line.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <initializer_list>
#include <string>
#include <vector>

#include "base/check.h"
#include "base/files.h"
#include "base/shell_completion.h"
#include "fmt/format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace fedtune {
namespace {

using testing::HasCode;
using ::testing::HasSubstr;
using testing::IsOk;
using ::testing::internal::CaptureStderr;
using ::testing::internal::CaptureStdout;
using ::testing::internal::GetCapturedStderr;
using ::testing::internal::GetCapturedStdout;

// A program with one command, one group and what they were asked to do.
struct Program {
  Program() : line({"kiln", "Fires pots.", {"kiln fire --degrees 900"}}) {
    CLI::App& fire = line.Add({"fire", "Fires the kiln.", {"kiln fire --degrees 900"}}, [this] {
      ++fired;
      if (work) work();
      return answer;
    });
    fire.add_option("--degrees", degrees, "How hot it's to be")->required();
    fire.add_flag("-q,--quiet", quiet, "Say nothing");
    fire.add_option("--pots", pots, "How many")->check(CLI::PositiveNumber);
    CLI::App& pot = line.AddGroup({"pot", "Works with pots.", {}});
    line.AddTo(pot, {"list", "Lists pots.", {}}, [this] {
      ++listed;
      return absl::OkStatus();
    });
  }

  int Run(std::initializer_list<const char*> words) {
    std::vector<const char*> arguments = {"/usr/bin/kiln"};
    arguments.insert(arguments.end(), words);
    return line.Run(static_cast<int>(arguments.size()), arguments.data());
  }

  CommandLine line;
  absl::Status answer;
  std::function<void()> work;
  int degrees = 0;
  int pots = 1;
  bool quiet = false;
  int fired = 0;
  int listed = 0;
};

TEST(CommandLineTest, RunsTheChosenCommandWithItsOptions) {
  Program program;
  EXPECT_EQ(program.Run({"fire", "--degrees", "900"}), 0);
  EXPECT_EQ(program.fired, 1);
  EXPECT_EQ(program.degrees, 900);
}

TEST(CommandLineTest, RunsACommandOfAGroup) {
  Program program;
  EXPECT_EQ(program.Run({"pot", "list"}), 0);
  EXPECT_EQ(program.listed, 1);
}

TEST(CommandLineTest, TakesTheProgramsOptionsBeforeAndBehindItsCommands) {
  Program before;
  std::string place;
  before.line.root().add_option("--place", place, "Where it stands");
  EXPECT_EQ(before.Run({"--place", "yard", "pot", "list"}), 0);
  EXPECT_EQ(place, "yard");
  Program behind;
  behind.line.root().add_option("--place", place, "Where it stands");
  EXPECT_EQ(behind.Run({"pot", "list", "--place", "barn"}), 0);
  EXPECT_EQ(place, "barn");
  EXPECT_EQ(behind.listed, 1);
}

TEST(CommandLineTest, RefusesAnArgumentTooMany) {
  Program program;
  CaptureStderr();
  EXPECT_EQ(program.Run({"pot", "list", "round"}), 2);
  EXPECT_EQ(GetCapturedStderr(),
            "error: The following argument was not expected: round\nsee: kiln pot list --help\n");
}

TEST(CommandLineTest, RefusesAnUnknownCommandOfAGroup) {
  Program program;
  CaptureStderr();
  EXPECT_EQ(program.Run({"pot", "freeze"}), 2);
  EXPECT_EQ(GetCapturedStderr(),
            "error: unknown command \"freeze\"; there is list\nsee: kiln pot --help\n");
}

TEST(CommandLineTest, RunsTheProgramItselfWhenNoCommandIsGiven) {
  Program program;
  int runs = 0;
  program.line.SetAction([&] {
    ++runs;
    return absl::OkStatus();
  });
  EXPECT_EQ(program.Run({}), 0);
  EXPECT_EQ(runs, 1);
}

TEST(CommandLineTest, ExplainsAFailedCommandOnStderr) {
  Program program;
  program.answer = absl::UnavailableError("the kiln does not answer");
  CaptureStderr();
  EXPECT_EQ(program.Run({"fire", "--degrees", "900"}), 4);
  EXPECT_EQ(GetCapturedStderr(), "error: the kiln does not answer\n");
}

TEST(CommandLineTest, ExplainsWrongUsageAndNamesTheHelp) {
  Program program;
  CaptureStderr();
  EXPECT_EQ(program.Run({"fire"}), 2);
  const std::string said = GetCapturedStderr();
  EXPECT_THAT(said, HasSubstr("error: --degrees is required\n"));
  EXPECT_THAT(said, HasSubstr("see: kiln fire --help\n"));
  EXPECT_EQ(program.fired, 0);
}

TEST(CommandLineTest, SaysOfANumberThatItIsTooSmall) {
  Program program;
  CaptureStderr();
  EXPECT_EQ(program.Run({"fire", "--degrees", "900", "--pots", "0"}), 2);
  EXPECT_THAT(GetCapturedStderr(), HasSubstr("error: --pots: Value 0 is too small\n"));
}

TEST(CommandLineTest, SaysOfANameThatCannotBeOneThatItIsNone) {
  Program program;
  const std::string name(5000, 'x');
  program.work = [&name] { EXPECT_TRUE(std::filesystem::exists(name)); };
  CaptureStderr();
  EXPECT_EQ(program.Run({"fire", "--degrees", "900"}), 1);
  EXPECT_THAT(GetCapturedStderr(), HasSubstr(name + ": File name too long\n"));
}

// Runs the program in this process, whose stdout is a full disk, and ends it.
[[noreturn]] void FireOntoAFullDisk(int lines) {
  Program program;
  program.work = [lines] {
    for (int i = 0; i < lines; ++i) fmt::print("pot {} is done\n", i);
  };
  Check(std::freopen("/dev/full", "w", stdout) != nullptr, "/dev/full");
  std::_Exit(program.Run({"fire", "--degrees", "900"}));
}

TEST(CommandLineDeathTest, SaysThatItsOutputCouldNotBeWritten) {
  EXPECT_EXIT(FireOntoAFullDisk(1), ::testing::ExitedWithCode(1),
              "error: the output could not be written; is the disk full\\?");
}

TEST(CommandLineDeathTest, SaysSoOfMuchOutput) {
  EXPECT_EXIT(FireOntoAFullDisk(100'000), ::testing::ExitedWithCode(1),
              "error: the output could not be written; is the disk full\\?");
}

// Runs the program in this process, whose results and errors go to one file, and ends it.
[[noreturn]] void FailIntoOneFile() {
  Program program;
  program.work = [] { fmt::print("pot 1 is done\n"); };
  program.answer = absl::InternalError("the kiln is cold");
  ::dup2(STDERR_FILENO, STDOUT_FILENO);
  std::setvbuf(stdout, nullptr, _IOFBF, BUFSIZ);
  std::_Exit(program.Run({"fire", "--degrees", "900"}));
}

TEST(CommandLineDeathTest, ShowsResultsBeforeWhatIsWrong) {
  EXPECT_EXIT(FailIntoOneFile(), ::testing::ExitedWithCode(1),
              "pot 1 is done\nerror: the kiln is cold");
}

// Runs the program in this process without standard streams; ends with the first
// descriptor that a file of its work gets.
[[noreturn]] void FireWithoutStreams() {
  Program program;
  int first = 0;
  program.work = [&first] { first = ::open("/dev/null", O_RDONLY); };
  for (const int stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) ::close(stream);
  program.Run({"fire", "--degrees", "900"});
  std::_Exit(first);
}

TEST(CommandLineDeathTest, LetsNoFileTakeThePlaceOfAClosedStream) {
  EXPECT_EXIT(
      FireWithoutStreams(), [](int status) { return WEXITSTATUS(status) > STDERR_FILENO; }, "");
}

TEST(CommandLineTest, RefusesAnUnknownCommand) {
  Program program;
  CaptureStderr();
  EXPECT_EQ(program.Run({"freeze"}), 2);
  EXPECT_THAT(GetCapturedStderr(),
              HasSubstr("unknown command \"freeze\"; there is fire, pot, completion\n"));
}

TEST(CommandLineTest, RefusesAMissingCommand) {
  Program program;
  CaptureStderr();
  EXPECT_EQ(program.Run({"pot"}), 2);
  EXPECT_EQ(GetCapturedStderr(),
            "error: a command is missing; there is list\nsee: kiln pot --help\n");
}

TEST(CommandLineTest, HelpStartsWithTheSummaryAndEndsWithExamples) {
  Program program;
  CaptureStdout();
  EXPECT_EQ(program.Run({"fire", "--help"}), 0);
  const std::string help = GetCapturedStdout();
  EXPECT_TRUE(help.starts_with("Fires the kiln.\n")) << help;
  EXPECT_THAT(help, HasSubstr("Examples:\n  kiln fire --degrees 900\n"));
}

TEST(CommandLineTest, TellsItsVersion) {
  Program program;
  CaptureStdout();
  EXPECT_EQ(program.Run({"--version"}), 0);
  EXPECT_TRUE(GetCapturedStdout().starts_with("kiln 0."));
}

TEST(CommandLineTest, PrintsACompletionScript) {
  Program program;
  CaptureStdout();
  EXPECT_EQ(program.Run({"completion", "bash"}), 0);
  EXPECT_THAT(GetCapturedStdout(), HasSubstr("complete -o default -F _kiln kiln"));
}

TEST(CommandLineTest, RefusesToCompleteInAnUnknownShell) {
  Program program;
  CaptureStderr();
  EXPECT_EQ(program.Run({"completion", "tcsh"}), 2);
  EXPECT_THAT(GetCapturedStderr(), HasSubstr("bash, zsh and fish"));
}

// What `program` prints when run by the shell.
std::string Output(const std::string& command) {
  std::FILE* const pipe = ::popen(command.c_str(), "r");
  std::string output;
  for (int c = std::fgetc(pipe); c != EOF; c = std::fgetc(pipe)) output += static_cast<char>(c);
  ::pclose(pipe);
  return output;
}

// What bash offers for the word `index` of `words`.
std::string Offered(const std::string& words, int index) {
  Program program;
  const testing::TemporaryDirectory directory;
  const std::string path = directory.path() / "completion.sh";
  const std::string script = CompletionScript(program.line.root(), "bash").value_or("");
  EXPECT_THAT(WriteFileAtomically(path, script), IsOk());
  return Output("bash -c 'source " + path + "; COMP_WORDS=(" + words +
                "); COMP_CWORD=" + std::to_string(index) + "; _kiln; echo \"${COMPREPLY[*]}\"'");
}

TEST(ShellCompletionTest, BashOffersCommands) {
  EXPECT_EQ(Offered("kiln fi", 1), "fire\n");
  EXPECT_EQ(Offered("kiln pot \"\"", 2), "list -h --help\n");
}

TEST(ShellCompletionTest, BashOffersOptions) {
  EXPECT_EQ(Offered("kiln fire --d", 2), "--degrees\n");
  EXPECT_EQ(Offered("kiln fire --degrees 900 --q", 4), "--quiet\n");
}

TEST(ShellCompletionTest, BashLeavesArgumentsOfOptionsToFiles) {
  EXPECT_EQ(Offered("kiln fire --degrees \"\"", 3), "\n");
}

TEST(ShellCompletionTest, QuotesDescriptionsForZshAndFish) {
  Program program;
  EXPECT_THAT(*CompletionScript(program.line.root(), "zsh"),
              HasSubstr("'--degrees:How hot it'\\''s to be'"));
  EXPECT_THAT(*CompletionScript(program.line.root(), "fish"),
              HasSubstr("-l degrees -r -F -d 'How hot it\\'s to be'"));
}

TEST(ShellCompletionTest, RefusesAnUnknownShell) {
  Program program;
  EXPECT_THAT(CompletionScript(program.line.root(), "tcsh"),
              HasCode(absl::StatusCode::kInvalidArgument));
}

}  // namespace
}  // namespace fedtune
