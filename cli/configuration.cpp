// SPDX-License-Identifier: Apache-2.0

#include "cli/configuration.h"

#include <cstdlib>

#include "base/files.h"
#include "base/status_macros.h"
#include "base/toml.h"

namespace fedtune {
namespace {

std::string Environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

// Where a file of the configuration lies: a flag's, the file's, or the default.
struct PathKey {
  const char* name;
  const std::optional<std::string>& flag;
  std::filesystem::path default_path;
};

std::filesystem::path ReadPath(TomlSection& root, const std::filesystem::path& folder,
                               const PathKey& key) {
  std::string text;
  root.OptionalName(key.name, text);
  if (key.flag) return *key.flag;
  return folder / (text.empty() ? key.default_path : std::filesystem::path(text));
}

}  // namespace

std::filesystem::path DefaultConfigurationFile() {
  const std::string xdg = Environment("XDG_CONFIG_HOME");
  const std::filesystem::path root = xdg.empty()
                                         ? std::filesystem::path(Environment("HOME")) / ".config"
                                         : std::filesystem::path(xdg);
  return root / "fedtune" / "fedtune.toml";
}

absl::StatusOr<Configuration> ParseConfiguration(std::string_view toml,
                                                 const std::filesystem::path& source,
                                                 const ConfigurationFlags& flags) {
  ASSIGN_OR_RETURN(TomlDocument document, TomlDocument::Parse(toml, source.string()));
  const std::filesystem::path folder = source.parent_path();
  TomlSection root = document.root();
  Configuration configuration;
  root.Optional("coordinator", configuration.coordinator);
  if (flags.coordinator) configuration.coordinator = *flags.coordinator;
  configuration.certificate =
      ReadPath(root, folder, {"certificate", flags.certificate, "keys/certificate.pem"});
  configuration.key = ReadPath(root, folder, {"key", flags.key, "keys/key.pem"});
  configuration.authority =
      ReadPath(root, folder, {"authority", flags.authority, "keys/authority.pem"});
  std::string revocation_list;
  root.OptionalName("revocation_list", revocation_list);
  if (!revocation_list.empty()) configuration.revocation_list = folder / revocation_list;
  if (flags.revocation_list) configuration.revocation_list = *flags.revocation_list;
  std::vector<std::string> models;
  root.Optional("models", models);
  RETURN_IF_ERROR(document.Finish());
  for (const std::string& model : models) configuration.models.push_back(folder / model);
  for (const std::string& model : flags.models) configuration.models.emplace_back(model);
  return configuration;
}

absl::StatusOr<Configuration> LoadConfiguration(const ConfigurationFlags& flags) {
  const std::filesystem::path file =
      flags.file ? std::filesystem::path(*flags.file) : DefaultConfigurationFile();
  auto text = flags.file ? ReadNamedFile(file) : ReadFile(file);
  if (!text.ok() && (flags.file || !absl::IsNotFound(text.status()))) return text.status();
  return ParseConfiguration(text.ok() ? *text : "", file, flags);
}

}  // namespace fedtune
