// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/check.h"
#include "base/sqlite/page_checksum.h"
#include "base/sqlite/read_only_disk.h"
#include "base/status_macros.h"

struct sqlite3;
struct sqlite3_stmt;

namespace fedtune {

// SQLite with owning handles and absl::Status instead of result codes. The same
// codes everywhere, each message with the database's path:
//
//   ALREADY_EXISTS: a uniqueness constraint. FAILED_PRECONDITION: another one.
//   RESOURCE_EXHAUSTED: the disk is full; nothing has changed.
//   UNAVAILABLE: another process kept the database locked for five seconds, or
//     the connection has ended, or a database that can only be read by this path was
//     written by another one.
//   DATA_LOSS: the file, or its write-ahead log (log_check.h), is damaged, or it is no
//     database.
//   INTERNAL: anything else.
//
// A connection ends with the first I/O error or damage: what the disk holds then is
// only known when the file is opened again. A sync that has failed once says
// nothing when it is tried again, so nothing is.

class SqliteDatabase;

// Why a connection has ended, if it has, and who wants to know; and what is asked
// before each write.
struct SqliteConnectionState {
  absl::Status ended;
  std::function<void(const absl::Status&)> on_end;
  std::function<absl::Status(SqliteDatabase&)> write_guard;
  int checkpoint_pages = 0;
  std::optional<DatabaseOnReadOnlyDisk> on_read_only_disk;

  absl::Status CheckIsStill() const {
    return on_read_only_disk.has_value() ? on_read_only_disk->CheckIsStill() : absl::OkStatus();
  }
};

// A prepared statement. Parameters are bound in order, then rows are stepped
// through, then Reset() makes it ready for other parameters.
//
//   ASSIGN_OR_RETURN(SqliteStatement find, database.Prepare("SELECT name FROM t WHERE id = ?"));
//   find.Bind(7);
//   ASSIGN_OR_RETURN(const bool found, find.Step());
//   if (found) name = find.Text(0);
class SqliteStatement {
 public:
  // The next parameter. A failure is reported by Step().
  SqliteStatement& Bind(double value);
  SqliteStatement& Bind(std::string_view text);
  SqliteStatement& Bind(std::span<const std::byte> blob);
  SqliteStatement& BindBlob(std::string_view blob);
  SqliteStatement& BindNull();

  template <std::integral T>
  SqliteStatement& Bind(T value) {
    if constexpr (!std::same_as<T, bool>) {
      Check(std::in_range<int64_t>(value), "an integer of a database has 63 bits");
    }
    return BindInt64(static_cast<int64_t>(value));
  }

  template <typename T>
  SqliteStatement& Bind(const std::optional<T>& value) {
    return value.has_value() ? Bind(*value) : BindNull();
  }

  // Runs to the next row; false: there is none.
  // INTERNAL also: a write outside a transaction, where there is a write guard.
  absl::StatusOr<bool> Step();

  // Column `column`, from 0, of the current row. Requires: Step() was true.
  int64_t Int64(int column) const;
  double Double(int column) const;
  std::string Text(int column) const;
  std::string Blob(int column) const;
  bool IsNull(int column) const;

  // Forgets parameters and rows.
  void Reset();

 private:
  friend class SqliteDatabase;
  struct Finalize {
    void operator()(sqlite3_stmt* statement) const;
  };
  SqliteStatement(sqlite3_stmt* statement, std::shared_ptr<SqliteConnectionState> state)
      : state_(std::move(state)), statement_(statement) {}
  // Whether it changes the database outside any transaction.
  bool WritesAlone() const;
  SqliteStatement& BindInt64(int64_t value);
  SqliteStatement& Bound(int code);

  std::shared_ptr<SqliteConnectionState> state_;
  std::unique_ptr<sqlite3_stmt, Finalize> statement_;
  int bound_ = 0;         // Parameters bound so far.
  int bind_failure_ = 0;  // The first result code that was not SQLITE_OK.
};

// One connection: durable (a commit is on the disk when it returns), with
// foreign keys enforced. Different connections may be used from different
// threads; one connection by one thread at a time, as its transaction is one.
// Must outlive its statements and transactions.
class SqliteDatabase {
 public:
  // Opens the file or makes it, for its owner's eyes only. ":memory:" is a
  // database that lives as long as the connection.
  //
  // NOT_FOUND: no such folder. PERMISSION_DENIED.
  static absl::StatusOr<SqliteDatabase> Open(const std::filesystem::path& path);

  // The same with a checksum on every page (page_checksum.h): damage is noticed when
  // the page is read, DATA_LOSS, and named. A database without is turned into one with
  // them, which takes as long as copying it; no other process may use it then.
  //
  // DATA_LOSS: the first page is damaged. RESOURCE_EXHAUSTED: no space for a copy.
  static absl::StatusOr<SqliteDatabase> OpenChecked(const std::filesystem::path& path);

  // Opens a file that is there, checked or not, to read it only, also while another
  // connection writes it; but see CheckIsStill(). NOT_FOUND. DATA_LOSS.
  static absl::StatusOr<SqliteDatabase> OpenToRead(const std::filesystem::path& path);

  // What OpenToRead() has opened on a read-only disk (read_only_disk.h) is read without
  // locks. UNAVAILABLE: it has been written since, and nothing that was read counts.
  absl::Status CheckIsStill() const { return state_->CheckIsStill(); }

  // Writes the database as it is now to `path`, where no file must be, and syncs it;
  // others may write the database meanwhile. The copy is one file and is checked if
  // the database is. CANCELLED: by `progress`. UNAVAILABLE: as of CheckIsStill().
  absl::Status BackUpTo(const std::filesystem::path& path, const PageProgress& progress = nullptr);

  // From now on `on_end` is told once when the connection ends, and the call that
  // ends it fails with UNAVAILABLE, as all later ones do.
  void OnEnd(std::function<void(const absl::Status&)> on_end);

  // Moves the write-ahead log into the database after commits that leave it longer than
  // `pages`. An error of that ends the connection, where SQLite would keep it to itself.
  void CheckpointEvery(int pages);

  // Ends the connection: nothing is read or written any more.
  absl::Status End(std::string_view why);

  // `guard` is asked at the beginning of every write transaction, with the write
  // lock held; the transaction is not begun when it fails. Execute() outside a
  // transaction is not guarded.
  void SetWriteGuard(std::function<absl::Status(SqliteDatabase&)> guard);

  // Whether the path no longer names the file that was opened.
  bool HasMoved() const;

  // Brings the schema up to date: `steps` are SQL scripts in the order in which
  // they were ever released; a step is never changed afterwards. Each runs once
  // in a transaction of its own.
  //
  // FAILED_PRECONDITION: a newer version of the program wrote this database.
  absl::Status Migrate(std::span<const std::string_view> steps);

  // INTERNAL: wrong SQL; text after the first statement.
  absl::StatusOr<SqliteStatement> Prepare(std::string_view sql) const;

  // Runs one statement to its end with these parameters; rows are ignored. One that
  // writes is a transaction of its own unless there is one; VACUUM cannot be.
  template <typename... Values>
  absl::Status Run(std::string_view sql, const Values&... values) {
    ASSIGN_OR_RETURN(SqliteStatement statement, Prepare(sql));
    (statement.Bind(values), ...);
    return RunToEnd(statement);
  }

  // Runs a script of statements without parameters.
  absl::Status Execute(const std::string& script);

  // Rows that the last INSERT, UPDATE or DELETE changed.
  int64_t ChangedRows() const;
  int64_t LastInsertedRowId() const;

  // Everything that is wrong with tables, indexes and references, a line each, the
  // first hundred; empty: nothing. Reads the whole file.
  absl::StatusOr<std::vector<std::string>> Problems() const;

  // How many of the steps of Migrate() it has seen.
  absl::StatusOr<int64_t> SchemaVersion() const;

 private:
  friend class SqliteTransaction;
  struct Close {
    void operator()(sqlite3* database) const;
  };
  explicit SqliteDatabase(sqlite3* database) : database_(database) {}
  static int AfterCommit(void* state, sqlite3* database, const char* name, int pages);
  // With the flags of sqlite3_open_v2(); a null `vfs` is the default one.
  static absl::StatusOr<SqliteDatabase> OpenWith(const std::filesystem::path& path, int flags,
                                                 const char* vfs);
  static absl::Status AddChecksums(const std::filesystem::path& database);
  absl::Status CopyPages(SqliteDatabase& to, const PageProgress& progress);
  void ReserveChecksumBytes();
  bool ReservesChecksumBytes() const;
  absl::Status RunToEnd(SqliteStatement& statement);
  absl::Status Configure();
  absl::Status ApplyStep(std::string_view step, int64_t version);

  std::shared_ptr<SqliteConnectionState> state_ = std::make_shared<SqliteConnectionState>();
  std::unique_ptr<sqlite3, Close> database_;
};

// All changes until Commit() happen together or, when it is not called, not at
// all. Takes the write lock at once, so a commit never fails because another
// connection was faster.
//
//   ASSIGN_OR_RETURN(SqliteTransaction transaction, SqliteTransaction::Begin(database));
//   RETURN_IF_ERROR(database.Run(...));
//   return std::move(transaction).Commit();
class SqliteTransaction {
 public:
  // Any error of the database's write guard.
  static absl::StatusOr<SqliteTransaction> Begin(SqliteDatabase& database);

  SqliteTransaction(SqliteTransaction&& other) noexcept
      : state_(std::move(other.state_)), database_(std::exchange(other.database_, nullptr)) {}
  SqliteTransaction& operator=(SqliteTransaction&&) = delete;
  ~SqliteTransaction();

  // On failure nothing of the transaction has happened, unless the connection has
  // ended: then that is known when the file is opened again.
  absl::Status Commit() &&;

 private:
  SqliteTransaction(sqlite3* database, std::shared_ptr<SqliteConnectionState> state)
      : state_(std::move(state)), database_(database) {}

  std::shared_ptr<SqliteConnectionState> state_;
  sqlite3* database_;  // Null once committed or moved from.
};

}  // namespace fedtune
