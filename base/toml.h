// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace fedtune {

class TomlSection;

// Reads a TOML file into plain fields and finds what is wrong with it: syntax,
// missing keys, wrong types, and keys nobody asked for, each with its line and,
// for a misspelt key, the one that was probably meant.
//
//   ASSIGN_OR_RETURN(TomlDocument document, TomlDocument::Parse(text, "plan.toml"));
//   TomlSection root = document.root();
//   root.Required("name", plan.name);
//   TomlSection adapter = root.Section("adapter");
//   adapter.Optional("rank", plan.adapter_rank);
//   if (plan.adapter_rank < 1) adapter.Reject("rank", "must be at least 1");
//   RETURN_IF_ERROR(document.Finish());
//
// Not thread-safe. Sections must not outlive their document.
class TomlDocument {
 public:
  // INVALID_ARGUMENT: not TOML; the message has source and line.
  static absl::StatusOr<TomlDocument> Parse(std::string_view text, std::string_view source);

  // The same of a file. Other errors: as ReadFile().
  static absl::StatusOr<TomlDocument> Load(const std::filesystem::path& path);

  TomlDocument(TomlDocument&&) noexcept;
  TomlDocument& operator=(TomlDocument&&) noexcept;
  ~TomlDocument();

  TomlSection root();

  // INVALID_ARGUMENT: everything found wrong so far, a line each, in the order
  // of the file.
  absl::Status Finish() const;

 private:
  friend class TomlSection;
  struct Content;
  explicit TomlDocument(std::unique_ptr<Content> content);

  std::unique_ptr<Content> content_;
};

// One table of a document. Reading a key makes it known; what stays unknown is
// reported by TomlDocument::Finish(). On any error the field keeps its value.
class TomlSection {
 public:
  void Required(std::string_view key, std::string& field);
  void Required(std::string_view key, int64_t& field);
  void Required(std::string_view key, double& field);
  void Required(std::string_view key, bool& field);
  void Required(std::string_view key, std::vector<std::string>& field);
  void Required(std::string_view key, std::vector<int64_t>& field);

  // Leave the field as it is when the key is absent. A whole number is taken
  // where a double is asked for, rounded if it must be.
  void Optional(std::string_view key, std::string& field);
  void Optional(std::string_view key, int64_t& field);
  void Optional(std::string_view key, double& field);
  void Optional(std::string_view key, bool& field);
  void Optional(std::string_view key, std::vector<std::string>& field);
  void Optional(std::string_view key, std::vector<int64_t>& field);

  // Of a text that names something, such as a file: an empty one is refused, because
  // who writes `policy = ""` has not said that there is none.
  void RequiredName(std::string_view key, std::string& field);
  void OptionalName(std::string_view key, std::string& field);

  bool Has(std::string_view key) const;
  bool IsString(std::string_view key) const;
  bool IsInteger(std::string_view key) const;
  bool IsArray(std::string_view key) const;

  // The sub-table; an empty one when absent.
  TomlSection Section(std::string_view key);

  // An array of tables, [[key]]; empty when absent.
  std::vector<TomlSection> Sections(std::string_view key);

  // Keys of this table, for tables whose keys are data. They become known. By
  // name, or as they stand in the file.
  std::vector<std::string> Keys();
  std::vector<std::string> KeysInOrder();

  // Where its value stands, from 1; 0 when it is absent.
  uint32_t Line(std::string_view key) const;

  // Records a problem with the value of `key` (or with its absence).
  void Reject(std::string_view key, std::string_view problem);

 private:
  friend class TomlDocument;
  TomlSection(TomlDocument::Content* content, const void* table, std::string name);

  bool IsEmptyString(std::string_view key) const;

  template <typename T>
  void Read(std::string_view key, T& field, bool required);

  TomlDocument::Content* content_;
  const void* table_;  // The library's table; null for an absent section.
  std::string name_;   // As in "[training]"; empty for the root.
};

}  // namespace fedtune
