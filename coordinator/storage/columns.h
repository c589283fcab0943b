// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/sqlite/sqlite.h"
#include "base/status_macros.h"
#include "privacy/crypto/sha256.h"

namespace fedtune {

// How the coordinator's types lie in columns: times as Unix milliseconds,
// digests as 32 bytes.

inline int64_t ToColumn(absl::Time time) { return absl::ToUnixMillis(time); }

inline std::span<const std::byte> ToColumn(const Digest& digest) {
  return std::as_bytes(std::span(digest.bytes));
}

template <typename T>
auto ToColumn(const std::optional<T>& value) {
  using Column = decltype(ToColumn(*value));
  return value.has_value() ? std::optional<Column>(ToColumn(*value)) : std::nullopt;
}

// Reads the columns of a row from left to right.
class RowReader {
 public:
  explicit RowReader(const SqliteStatement& row) : row_(row) {}

  int64_t Int64() { return row_.Int64(next_++); }
  double Double() { return row_.Double(next_++); }
  std::string Text() { return row_.Text(next_++); }
  absl::Time Time() { return absl::FromUnixMillis(row_.Int64(next_++)); }

  // All zero if the column is not 32 bytes long, which no adapter's digest is.
  Digest Sha256() { return Digest::FromBinary(row_.Blob(next_++), "a digest").value_or(Digest()); }

  // Nothing for NULL, otherwise what `read` makes of the column.
  template <typename Read>
  auto Optional(Read read) -> std::optional<decltype((this->*read)())> {
    if (!row_.IsNull(next_)) return (this->*read)();
    ++next_;
    return std::nullopt;
  }

 private:
  const SqliteStatement& row_;
  int next_ = 0;
};

// Reads all rows of a query with `read`, which gives a T or a StatusOr<T>.
template <typename T, typename Read>
absl::StatusOr<std::vector<T>> ReadAll(SqliteStatement& query, Read read) {
  std::vector<T> found;
  while (true) {
    ASSIGN_OR_RETURN(const bool more, query.Step());
    if (!more) return found;
    absl::StatusOr<T> row = read(query);
    RETURN_IF_ERROR(row.status());
    found.push_back(*std::move(row));
  }
}

}  // namespace fedtune
