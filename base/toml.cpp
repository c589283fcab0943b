// SPDX-License-Identifier: Apache-2.0

#include "base/toml.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <type_traits>
#include <utility>

#include "base/files.h"
#include "base/status_macros.h"
#include "base/toml_key_depth.h"
#include "fmt/format.h"
#include "fmt/ranges.h"

#define TOML_EXCEPTIONS 1
#include "toml++/toml.h"

namespace fedtune {
namespace {

constexpr int kMostKeyParts = 32;

const toml::table* AsTable(const void* table) { return static_cast<const toml::table*>(table); }

// Levenshtein distance, for "did you mean".
size_t EditDistance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = std::exchange(row[0], i);
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t substitute = diagonal + (a[i - 1] != b[j - 1] ? 1 : 0);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, substitute});
    }
  }
  return row.back();
}

std::optional<std::string> Closest(std::string_view key, const std::set<std::string>& known) {
  std::optional<std::string> best;
  size_t best_distance = std::max<size_t>(2, key.size() / 3) + 1;
  for (const std::string& candidate : known) {
    const size_t distance = EditDistance(key, candidate);
    if (distance < best_distance) {
      best_distance = distance;
      best = candidate;
    }
  }
  return best;
}

std::string DidYouMean(std::string_view key, const std::set<std::string>& known) {
  const auto meant = Closest(key, known);
  return meant ? fmt::format("; did you mean {}?", *meant) : "";
}

std::string Place(std::string_view section) {
  return section.empty() ? "" : fmt::format(" in [{}]", section);
}

}  // namespace

struct TomlDocument::Content {
  std::string source;
  toml::table root;
  std::map<const toml::table*, std::set<std::string>> known;
  std::map<const toml::table*, std::string> names;
  // Line (0 when there is none) and message.
  std::vector<std::pair<uint32_t, std::string>> problems;

  void Add(uint32_t line, std::string_view message) {
    problems.emplace_back(line, line == 0 ? fmt::format("{}: {}", source, message)
                                          : fmt::format("{}:{}: {}", source, line, message));
  }

  std::vector<std::pair<uint32_t, std::string>> UnknownKeys() const {
    std::vector<std::pair<uint32_t, std::string>> found;
    for (const auto& [table, name] : names) {
      const auto& keys = known.at(table);
      for (const auto& [key, node] : *table) {
        if (keys.contains(std::string(key.str()))) continue;
        const uint32_t line = key.source().begin.line;
        found.emplace_back(line, fmt::format("{}:{}: unknown key \"{}\"{}{}", source, line,
                                             key.str(), Place(name), DidYouMean(key.str(), keys)));
      }
    }
    return found;
  }
};

TomlDocument::TomlDocument(std::unique_ptr<Content> content) : content_(std::move(content)) {}
TomlDocument::TomlDocument(TomlDocument&&) noexcept = default;
TomlDocument& TomlDocument::operator=(TomlDocument&&) noexcept = default;
TomlDocument::~TomlDocument() = default;

absl::StatusOr<TomlDocument> TomlDocument::Parse(std::string_view text, std::string_view source) {
  if (const auto line = LineOfDeeperKey(text, kMostKeyParts)) {
    return absl::InvalidArgumentError(
        fmt::format("{}:{}: a key has more than {} parts", source, *line, kMostKeyParts));
  }
  auto content = std::make_unique<Content>();
  content->source = source;
  try {
    content->root = toml::parse(text, source);
  } catch (const toml::parse_error& error) {
    return absl::InvalidArgumentError(
        fmt::format("{}:{}: not TOML: {}", source, error.source().begin.line, error.description()));
  }
  return TomlDocument(std::move(content));
}

absl::StatusOr<TomlDocument> TomlDocument::Load(const std::filesystem::path& path) {
  ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  return Parse(text, path.string());
}

TomlSection TomlDocument::root() { return TomlSection(content_.get(), &content_->root, ""); }

absl::Status TomlDocument::Finish() const {
  auto problems = content_->problems;
  for (auto& unknown : content_->UnknownKeys()) problems.push_back(std::move(unknown));
  if (problems.empty()) return absl::OkStatus();
  std::stable_sort(problems.begin(), problems.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<std::string> lines;
  lines.reserve(problems.size());
  for (auto& [line, message] : problems) lines.push_back(std::move(message));
  return absl::InvalidArgumentError(fmt::format("{}", fmt::join(lines, "\n")));
}

TomlSection::TomlSection(TomlDocument::Content* content, const void* table, std::string name)
    : content_(content), table_(table), name_(std::move(name)) {
  if (table_ == nullptr) return;
  content_->known[AsTable(table_)];
  content_->names[AsTable(table_)] = name_;
}

template <typename T>
void TomlSection::Read(std::string_view key, T& field, bool required) {
  if (table_ == nullptr) {
    if (required) content_->Add(0, fmt::format("[{}] with {} is missing", name_, key));
    return;
  }
  content_->known[AsTable(table_)].insert(std::string(key));
  const toml::node* node = AsTable(table_)->get(key);
  if (node == nullptr) {
    if (required) content_->Add(0, fmt::format("key {}{} is missing", key, Place(name_)));
    return;
  }
  if constexpr (std::is_same_v<T, std::vector<std::string>>) {
    const toml::array* array = node->as_array();
    if (array == nullptr || (!array->empty() && !array->is_homogeneous<std::string>())) {
      return Reject(key, "must be a list of strings");
    }
    field.clear();
    for (const auto& item : *array) field.push_back(**item.as_string());
  } else if constexpr (std::is_same_v<T, std::vector<int64_t>>) {
    const toml::array* array = node->as_array();
    if (array == nullptr || (!array->empty() && !array->is_homogeneous<int64_t>())) {
      return Reject(key, "must be a list of whole numbers");
    }
    field.clear();
    for (const auto& item : *array) field.push_back(**item.as_integer());
  } else if constexpr (std::is_same_v<T, double>) {
    if (!node->is_number()) return Reject(key, "must be a number");
    // value<double>() has none where a whole number has more digits than a double.
    field = node->is_integer() ? static_cast<double>(**node->as_integer())
                               : **node->as_floating_point();
  } else if constexpr (std::is_same_v<T, int64_t>) {
    if (!node->is_integer()) return Reject(key, "must be a whole number");
    field = **node->as_integer();
  } else if constexpr (std::is_same_v<T, bool>) {
    if (!node->is_boolean()) return Reject(key, "must be true or false");
    field = **node->as_boolean();
  } else {
    if (!node->is_string()) return Reject(key, "must be a string in quotes");
    field = **node->as_string();
  }
}

void TomlSection::Required(std::string_view key, std::string& field) { Read(key, field, true); }
void TomlSection::Required(std::string_view key, int64_t& field) { Read(key, field, true); }
void TomlSection::Required(std::string_view key, double& field) { Read(key, field, true); }
void TomlSection::Required(std::string_view key, bool& field) { Read(key, field, true); }
void TomlSection::Required(std::string_view key, std::vector<std::string>& field) {
  Read(key, field, true);
}
void TomlSection::Required(std::string_view key, std::vector<int64_t>& field) {
  Read(key, field, true);
}
void TomlSection::Optional(std::string_view key, std::string& field) { Read(key, field, false); }
void TomlSection::Optional(std::string_view key, int64_t& field) { Read(key, field, false); }
void TomlSection::Optional(std::string_view key, double& field) { Read(key, field, false); }
void TomlSection::Optional(std::string_view key, bool& field) { Read(key, field, false); }
void TomlSection::Optional(std::string_view key, std::vector<std::string>& field) {
  Read(key, field, false);
}
void TomlSection::Optional(std::string_view key, std::vector<int64_t>& field) {
  Read(key, field, false);
}

void TomlSection::RequiredName(std::string_view key, std::string& field) {
  Required(key, field);
  if (IsEmptyString(key)) Reject(key, "must not be empty");
}
void TomlSection::OptionalName(std::string_view key, std::string& field) {
  Optional(key, field);
  if (IsEmptyString(key)) Reject(key, "must not be empty; to go without it, leave the key out");
}

bool TomlSection::Has(std::string_view key) const {
  return table_ != nullptr && AsTable(table_)->contains(key);
}
bool TomlSection::IsString(std::string_view key) const {
  return Has(key) && AsTable(table_)->get(key)->is_string();
}
bool TomlSection::IsEmptyString(std::string_view key) const {
  return IsString(key) && AsTable(table_)->get(key)->as_string()->get().empty();
}
bool TomlSection::IsInteger(std::string_view key) const {
  return Has(key) && AsTable(table_)->get(key)->is_integer();
}
bool TomlSection::IsArray(std::string_view key) const {
  return Has(key) && AsTable(table_)->get(key)->is_array();
}

TomlSection TomlSection::Section(std::string_view key) {
  const std::string name = name_.empty() ? std::string(key) : fmt::format("{}.{}", name_, key);
  if (table_ == nullptr) return TomlSection(content_, nullptr, name);
  content_->known[AsTable(table_)].insert(std::string(key));
  if (!Has(key)) return TomlSection(content_, nullptr, name);
  const toml::table* table = AsTable(table_)->get(key)->as_table();
  if (table == nullptr) Reject(key, fmt::format("must be a section, [{}]", name));
  return TomlSection(content_, table, name);
}

std::vector<TomlSection> TomlSection::Sections(std::string_view key) {
  std::vector<TomlSection> sections;
  if (table_ == nullptr) return sections;
  content_->known[AsTable(table_)].insert(std::string(key));
  if (!Has(key)) return sections;
  const toml::array* array = AsTable(table_)->get(key)->as_array();
  if (array == nullptr || !array->is_array_of_tables()) {
    Reject(key, fmt::format("must be a list of sections, [[{}]]", key));
    return sections;
  }
  for (const auto& item : *array) {
    sections.push_back(TomlSection(content_, item.as_table(), std::string(key)));
  }
  return sections;
}

std::vector<std::string> TomlSection::Keys() {
  std::vector<std::string> keys;
  if (table_ == nullptr) return keys;
  for (const auto& [key, node] : *AsTable(table_)) keys.emplace_back(key.str());
  content_->known[AsTable(table_)].insert(keys.begin(), keys.end());
  return keys;
}

std::vector<std::string> TomlSection::KeysInOrder() {
  std::vector<std::string> keys = Keys();
  const auto place = [this](const std::string& key) {
    const toml::source_position begin = AsTable(table_)->get(key)->source().begin;
    return std::pair(begin.line, begin.column);
  };
  std::stable_sort(keys.begin(), keys.end(),
                   [&](const std::string& a, const std::string& b) { return place(a) < place(b); });
  return keys;
}

uint32_t TomlSection::Line(std::string_view key) const {
  return Has(key) ? AsTable(table_)->get(key)->source().begin.line : 0;
}

void TomlSection::Reject(std::string_view key, std::string_view problem) {
  content_->Add(Line(key), fmt::format("{}{} {}", key, Place(name_), problem));
}

}  // namespace fedtune
