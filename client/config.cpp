// SPDX-License-Identifier: Apache-2.0

#include "client/config.h"

#include <algorithm>
#include <charconv>
#include <set>
#include <utility>

#include "base/files.h"
#include "base/host_and_port.h"
#include "base/status.h"
#include "base/status_macros.h"
#include "base/toml.h"
#include "fmt/format.h"
#include "fmt/ranges.h"
#include "privacy/identity/identity.h"

namespace fedtune {
namespace {

using std::filesystem::path;

// Where a value may come from.
struct Setting {
  TomlSection& section;
  std::string_view key;
  std::string_view flag;
};

bool IsNumber(std::string_view text, int64_t low, int64_t high) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() && value >= low && value <= high;
}

bool IsDevice(std::string_view text) {
  if (text == "auto" || text == "cpu") return true;
  return text.starts_with("cuda:") && IsNumber(text.substr(5), 0, 127);
}

std::string FlagFor(std::string_view key) {
  std::string flag = fmt::format("--{}", key);
  std::ranges::replace(flag, '_', '-');
  return flag;
}

// Reads file and flags into one configuration and keeps what is wrong.
class ConfigReader {
 public:
  // `file` is empty when there are only flags.
  ConfigReader(TomlDocument& document, const path& file)
      : document_(document),
        root_(document.root()),
        has_file_(!file.empty()),
        folder_(file.parent_path()) {}

  TomlSection& root() { return root_; }

  template <typename T>
  void Read(const Setting& setting, const std::optional<T>& given, T& field) {
    setting.section.Optional(setting.key, field);
    if (!given) return;
    field = *given;
    flags_given_.insert(setting.flag);
  }

  // Without a value the field stays as it is.
  void Path(std::string_view key, const std::optional<std::string>& flag, path& field) {
    std::string text;
    root_.OptionalName(key, text);
    if (!text.empty()) field = FromFile(text);
    if (!flag) return;
    if (flag->empty())
      RejectFlag(FlagFor(key), "must not be empty; to go without it, leave it out");
    field = *flag;
  }

  path FromFile(const std::string& text) const { return folder_ / text; }

  void Reject(const Setting& setting, std::string_view problem) {
    if (!has_file_ || flags_given_.contains(setting.flag)) {
      RejectFlag(setting.flag, problem);
    } else {
      setting.section.Reject(setting.key, problem);
    }
  }

  void RejectFlag(std::string_view flag, std::string_view problem) {
    flag_problems_.push_back(fmt::format("{} {}", flag, problem));
  }

  absl::Status Finish() const {
    std::vector<std::string> problems = flag_problems_;
    const absl::Status in_file = document_.Finish();
    if (!in_file.ok()) problems.insert(problems.begin(), std::string(Message(in_file)));
    if (problems.empty()) return absl::OkStatus();
    return absl::InvalidArgumentError(fmt::format("{}", fmt::join(problems, "\n")));
  }

 private:
  TomlDocument& document_;
  TomlSection root_;
  const bool has_file_;
  const path folder_;
  std::set<std::string_view> flags_given_;
  std::vector<std::string> flag_problems_;
};

void ReadConnection(ConfigReader& reader, const ClientFlags& flags, ClientConfig& config) {
  const Setting coordinator{reader.root(), "coordinator", "--coordinator"};
  reader.Read(coordinator, flags.coordinator, config.coordinator);
  if (!IsHostAndPort(config.coordinator)) {
    reader.Reject(coordinator, "must be the coordinator's address, \"host:port\"");
  }
  const Setting institution{reader.root(), "institution", "--institution"};
  reader.Read(institution, flags.institution, config.institution);
  if (!CheckIdentityName("institution", config.institution).ok()) {
    reader.Reject(institution, "must be the name in the certificate: up to 63 of a-z, 0-9 and -");
  }
}

void ReadPaths(ConfigReader& reader, const ClientFlags& flags, ClientConfig& config) {
  reader.Path("state_dir", flags.state_dir, config.state_dir);
  if (config.state_dir.empty()) {
    reader.Reject({reader.root(), "state_dir", "--state-dir"},
                  "must name the folder for the client's keys and its work");
  }
  config.credentials = FilesIn(config.state_dir / "keys");
  reader.Path("certificate", flags.certificate, config.credentials.certificate);
  reader.Path("key", flags.key, config.credentials.key);
  reader.Path("authority", flags.authority, config.credentials.authority);
  reader.Path("revocation_list", flags.revocation_list, config.revocation_list);
  reader.Path("signing_key", flags.signing_key, config.credentials.signing_key);
  // The custodian sends both certificates in one file, wherever that is put.
  config.credentials.signing_certificate = config.credentials.certificate;
  reader.Path("signing_certificate", flags.signing_certificate,
              config.credentials.signing_certificate);
  reader.Path("federation_key", flags.federation_key, config.federation_key);
  reader.Path("policy", flags.policy, config.policy);
}

void ReadBaseModels(ConfigReader& reader, const ClientFlags& flags, ClientConfig& config) {
  std::vector<std::string> folders;
  reader.root().Optional("base_models", folders);
  for (const std::string& folder : folders) config.base_models.push_back(reader.FromFile(folder));
  if (!flags.base_models.empty()) {
    config.base_models.assign(flags.base_models.begin(), flags.base_models.end());
  }
}

void ReadDatasets(ConfigReader& reader, ClientConfig& config) {
  for (TomlSection& section : reader.root().Sections("datasets")) {
    DatasetConfig dataset;
    std::string train;
    std::string eval;
    section.RequiredName("name", dataset.name);
    section.RequiredName("train", train);
    section.OptionalName("eval", eval);
    dataset.train = reader.FromFile(train);
    if (!eval.empty()) dataset.eval = reader.FromFile(eval);
    config.datasets.push_back(std::move(dataset));
  }
}

// "NAME:TRAIN[:EVAL]".
std::optional<DatasetConfig> DatasetFromFlag(std::string_view text) {
  const size_t first = text.find(':');
  if (first == 0 || first == std::string_view::npos) return std::nullopt;
  const size_t second = std::min(text.find(':', first + 1), text.size());
  if (second == first + 1) return std::nullopt;
  DatasetConfig dataset;
  dataset.name = text.substr(0, first);
  dataset.train = text.substr(first + 1, second - first - 1);
  if (second < text.size()) dataset.eval = text.substr(second + 1);
  return dataset;
}

void ReadDatasetFlags(ConfigReader& reader, const ClientFlags& flags, ClientConfig& config) {
  if (!flags.datasets.empty()) config.datasets.clear();
  for (const std::string& text : flags.datasets) {
    if (auto dataset = DatasetFromFlag(text)) {
      config.datasets.push_back(*std::move(dataset));
    } else {
      reader.RejectFlag("--dataset", "must be NAME:TRAIN_FILE or NAME:TRAIN_FILE:EVAL_FILE");
    }
  }
  std::set<std::string> names;
  for (const DatasetConfig& dataset : config.datasets) {
    if (names.insert(dataset.name).second) continue;
    reader.Reject({reader.root(), "datasets", "--dataset"},
                  fmt::format("has two data sets of the name \"{}\"", dataset.name));
  }
}

void ReadDevice(ConfigReader& reader, const ClientFlags& flags, ClientConfig& config) {
  TomlSection device = reader.root().Section("device");
  const Setting kind{device, "kind", "--device"};
  reader.Read(kind, flags.device, config.device);
  if (!IsDevice(config.device)) {
    reader.Reject(kind, "must be \"auto\", \"cpu\" or a GPU such as \"cuda:0\"");
  }
  const Setting threads{device, "threads", "--threads"};
  reader.Read(threads, flags.threads, config.threads);
  if (config.threads < 0 || config.threads > 4096) {
    reader.Reject(threads, "must be between 0 (all cores) and 4096");
  }
}

void ReadMemory(ConfigReader& reader, TomlSection& training, const ClientFlags& flags,
                ClientConfig& config) {
  const Setting memory{training, "memory_gb", "--memory-gb"};
  double gigabytes = 0;
  reader.Read(memory, flags.memory_gb, gigabytes);
  const bool is_said = flags.memory_gb.has_value() || training.Has("memory_gb");
  if (!is_said) return;
  config.memory_gb = gigabytes;
  if (!IsMemorySize(gigabytes)) {
    reader.Reject(memory, "must be above 0 and at most 1000000");
  }
}

void ReadTraining(ConfigReader& reader, const ClientFlags& flags, ClientConfig& config) {
  TomlSection training = reader.root().Section("training");
  const Setting seconds{training, "checkpoint_seconds", "--checkpoint-seconds"};
  reader.Read(seconds, flags.checkpoint_seconds, config.checkpoint_seconds);
  // Not a number is refused, too.
  if (!(config.checkpoint_seconds >= 0 && config.checkpoint_seconds <= 86'400)) {
    reader.Reject(seconds, "must be between 0 (no checkpoints) and 86400");
  }
  const Setting recompute{training, "recompute", "--recompute"};
  std::string name = "auto";
  reader.Read(recompute, flags.recompute, name);
  if (const auto known = RecomputeFromName(name)) {
    config.recompute = *known;
  } else {
    reader.Reject(recompute, "must be \"auto\", \"never\" or \"always\"");
  }
  ReadMemory(reader, training, flags, config);
}

void ReadLogFormat(ConfigReader& reader, const ClientFlags& flags, ClientConfig& config) {
  TomlSection log = reader.root().Section("log");
  const Setting setting{log, "format", "--log-format"};
  std::string format = "text";
  reader.Read(setting, flags.log_format, format);
  if (format != "text" && format != "json") {
    reader.Reject(setting, "must be \"text\" or \"json\"");
  }
  config.log_format = format == "json" ? Log::Format::kJson : Log::Format::kKeyValue;
}

}  // namespace

absl::StatusOr<ClientConfig> ParseClientConfig(std::string_view toml, const path& source,
                                               const ClientFlags& flags) {
  ASSIGN_OR_RETURN(TomlDocument document, TomlDocument::Parse(toml, source.string()));
  ConfigReader reader(document, source);
  ClientConfig config;
  ReadConnection(reader, flags, config);
  ReadPaths(reader, flags, config);
  ReadBaseModels(reader, flags, config);
  ReadDatasets(reader, config);
  ReadDatasetFlags(reader, flags, config);
  ReadDevice(reader, flags, config);
  ReadTraining(reader, flags, config);
  ReadLogFormat(reader, flags, config);
  RETURN_IF_ERROR(reader.Finish());
  return config;
}

absl::StatusOr<ClientConfig> LoadClientConfig(const path& file, const ClientFlags& flags) {
  ASSIGN_OR_RETURN(const std::string toml, ReadNamedFile(file));
  return ParseClientConfig(toml, file, flags);
}

}  // namespace fedtune
