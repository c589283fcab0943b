// SPDX-License-Identifier: Apache-2.0

#include "base/shell_completion.h"

#include <vector>

#include "fmt/format.h"

namespace fedtune {
namespace {

struct Word {
  std::string text;  // A command's name, or an option as it is typed.
  std::string description;
};

// One node of the tree of commands.
struct Place {
  std::string path;  // " run start"; empty for the program itself.
  std::vector<Word> commands;
  std::vector<Word> options;
  std::vector<std::string> with_argument;  // The options that take one.
};

std::vector<std::string> Spellings(const CLI::Option& option) {
  std::vector<std::string> spellings;
  for (const std::string& name : option.get_snames()) spellings.push_back("-" + name);
  for (const std::string& name : option.get_lnames()) spellings.push_back("--" + name);
  return spellings;
}

void Collect(const CLI::App& app, const std::string& path, std::vector<Place>& places) {
  Place place{.path = path, .commands = {}, .options = {}, .with_argument = {}};
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& spelling : Spellings(*option)) {
      place.options.push_back({spelling, option->get_description()});
      if (option->get_items_expected_max() > 0) place.with_argument.push_back(spelling);
    }
  }
  const auto commands = app.get_subcommands([](const CLI::App*) { return true; });
  for (const CLI::App* command : commands) {
    place.commands.push_back({command->get_name(), command->get_description()});
  }
  places.push_back(std::move(place));
  for (const CLI::App* command : commands) {
    Collect(*command, path + " " + command->get_name(), places);
  }
}

// Text between single quotes, for bash and zsh.
std::string Quoted(std::string_view text) {
  std::string quoted = "'";
  for (const char c : text) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return quoted + "'";
}

// Text between single quotes, for fish.
std::string FishQuoted(std::string_view text) {
  std::string quoted = "'";
  for (const char c : text) quoted += (c == '\'' || c == '\\' ? "\\" : "") + std::string(1, c);
  return quoted + "'";
}

// "_fedtune_ca" for "fedtune-ca".
std::string FunctionName(std::string_view program) {
  std::string name = "_";
  for (const char c : program) name += c == '-' ? '_' : c;
  return name;
}

// The case patterns of all commands below the program: '" init"|" run start"'.
std::string CommandPatterns(const std::vector<Place>& places) {
  std::string patterns;
  for (const Place& place : places) {
    if (place.path.empty()) continue;
    patterns += fmt::format("{}\"{}\"", patterns.empty() ? "" : "|", place.path);
  }
  return patterns;
}

std::string OptionPatterns(const Place& place, std::string_view prefix) {
  std::string patterns;
  for (const std::string& option : place.with_argument) {
    patterns += fmt::format("{}\"{}{}\"", patterns.empty() ? "" : "|", prefix, option);
  }
  return patterns;
}

// Cases that match behind an option with an argument, where no command and no option follows.
std::string ArgumentCases(const std::vector<Place>& places, std::string_view then) {
  std::string cases;
  for (const Place& place : places) {
    const std::string options = OptionPatterns(place, place.path + " ");
    if (!options.empty()) cases += fmt::format("    {}) {} ;;\n", options, then);
  }
  return cases;
}

std::string BashScript(const std::string& program, const std::vector<Place>& places) {
  std::string words;
  for (const Place& place : places) {
    std::string here;
    for (const Word& word : place.commands) here += " " + word.text;
    for (const Word& word : place.options) here += " " + word.text;
    words +=
        fmt::format("    \"{}\") words=\"{}\" ;;\n", place.path, here.substr(here.empty() ? 0 : 1));
  }
  return fmt::format(R"(# bash completion for {program}
{function}() {{
  local place="" word words="" index
  for ((index = 1; index < COMP_CWORD; ++index)); do
    word="${{COMP_WORDS[index]}}"
    case "$place $word" in
      {commands}) place="$place $word" ;;
    esac
  done
  COMPREPLY=()
  case "$place ${{COMP_WORDS[COMP_CWORD - 1]}}" in
{arguments}  esac
  case "$place" in
{words}  esac
  mapfile -t COMPREPLY < <(compgen -W "$words" -- "${{COMP_WORDS[COMP_CWORD]}}")
}}
complete -o default -F {function} {program}
)",
                     fmt::arg("program", program), fmt::arg("function", FunctionName(program)),
                     fmt::arg("commands", CommandPatterns(places)),
                     fmt::arg("arguments", ArgumentCases(places, "return")),
                     fmt::arg("words", words));
}

// "'init:Makes the authority.' ..." for _describe, which splits at colons.
std::string ZshItems(const std::vector<Word>& words) {
  std::string items;
  for (const Word& word : words) {
    items += fmt::format("{}{}", items.empty() ? "" : " ",
                         Quoted(fmt::format("{}:{}", word.text, word.description)));
  }
  return items;
}

std::string ZshScript(const std::string& program, const std::vector<Place>& places) {
  std::string words;
  for (const Place& place : places) {
    words += fmt::format("    \"{}\")\n      commands=({})\n      options=({})\n      ;;\n",
                         place.path, ZshItems(place.commands), ZshItems(place.options));
  }
  return fmt::format(R"(#compdef {program}
{function}() {{
  local place="" word
  local -a commands options
  for word in "${{(@)words[2,CURRENT-1]}}"; do
    case "$place $word" in
      {commands}) place="$place $word" ;;
    esac
  done
  case "$place ${{words[CURRENT-1]}}" in
{arguments}  esac
  case "$place" in
{words}  esac
  (( $#commands )) && _describe -t commands command commands
  if [[ "${{words[CURRENT]}}" == -* ]]; then
    _describe -o -t options option options
  elif (( ! $#commands )); then
    _files
  fi
}}
if [[ "$funcstack[1]" == "{function}" ]]; then
  {function} "$@"
else
  compdef {function} {program}
fi
)",
                     fmt::arg("program", program), fmt::arg("function", FunctionName(program)),
                     fmt::arg("commands", CommandPatterns(places)),
                     fmt::arg("arguments", ArgumentCases(places, "_files; return")),
                     fmt::arg("words", words));
}

std::string FishLine(const std::string& program, std::string_view place, std::string_view rest) {
  return fmt::format("complete -c {} -n '{}_at \"{}\"' {}\n", program, FunctionName(program), place,
                     rest);
}

std::string FishOption(const CLI::Option& option) {
  std::string rest;
  for (const std::string& name : option.get_snames()) rest += fmt::format("-s {} ", name);
  for (const std::string& name : option.get_lnames()) rest += fmt::format("-l {} ", name);
  if (rest.empty()) return "";  // A positional argument.
  if (option.get_items_expected_max() > 0) rest += "-r -F ";
  return rest + "-d " + FishQuoted(option.get_description());
}

void AppendFish(const CLI::App& app, const std::string& program, const std::string& place,
                std::string& script) {
  const auto commands = app.get_subcommands([](const CLI::App*) { return true; });
  for (const CLI::App* command : commands) {
    script += FishLine(
        program, place,
        fmt::format("-f -a {} -d {}", command->get_name(), FishQuoted(command->get_description())));
  }
  for (const CLI::Option* option : app.get_options()) {
    const std::string rest = FishOption(*option);
    if (!rest.empty()) script += FishLine(program, place, rest);
  }
  for (const CLI::App* command : commands) {
    AppendFish(*command, program, place + " " + command->get_name(), script);
  }
}

std::string FishScript(const CLI::App& app, const std::vector<Place>& places) {
  std::string cases;
  for (const Place& place : places) {
    if (!place.path.empty()) cases += fmt::format(" \"{}\"", place.path);
  }
  std::string script =
      fmt::format(R"(# fish completion for {program}
function {function}_at
  set -l place ""
  for word in (commandline -opc)[2..-1]
    switch "$place $word"
      case{commands}
        set place "$place $word"
    end
  end
  test "$place" = "$argv[1]"
end
)",
                  fmt::arg("program", app.get_name()),
                  fmt::arg("function", FunctionName(app.get_name())), fmt::arg("commands", cases));
  AppendFish(app, app.get_name(), "", script);
  return script;
}

}  // namespace

absl::StatusOr<std::string> CompletionScript(const CLI::App& program, std::string_view shell) {
  std::vector<Place> places;
  Collect(program, "", places);
  if (shell == "bash") return BashScript(program.get_name(), places);
  if (shell == "zsh") return ZshScript(program.get_name(), places);
  if (shell == "fish") return FishScript(program, places);
  return absl::InvalidArgumentError(
      fmt::format("no completion for the shell \"{}\"; there is bash, zsh and fish", shell));
}

}  // namespace fedtune
