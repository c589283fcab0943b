// SPDX-License-Identifier: Apache-2.0

#include "base/sqlite/sqlite.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>
#include <utility>

#include "base/exit_code.h"
#include "base/files.h"
#include "base/sqlite/checksum_vfs.h"
#include "base/sqlite/log_check.h"
#include "base/status.h"
#include "fmt/format.h"

namespace fedtune {
namespace {

constexpr int kBusyTimeoutMs = 5000;
constexpr char kInMemory[] = ":memory:";

std::string_view PathOf(sqlite3* database) {
  const char* path = sqlite3_db_filename(database, "main");
  return path == nullptr || *path == '\0' ? kInMemory : path;
}

absl::Status DiskFull(sqlite3* database) {
  return absl::ResourceExhaustedError(
      fmt::format("disk full: cannot write {}; free some space and try again", PathOf(database)));
}

absl::Status ConstraintFailed(int code, const std::string& message) {
  switch (code) {
    case SQLITE_CONSTRAINT_PRIMARYKEY:
    case SQLITE_CONSTRAINT_ROWID:
    case SQLITE_CONSTRAINT_UNIQUE:
      return absl::AlreadyExistsError(message);
    default:
      return absl::FailedPreconditionError(message);
  }
}

absl::Status DamagedPage(std::string_view path) {
  const std::optional<int64_t> page = TakeDamagedPage();
  return absl::DataLossError(page.has_value() ? fmt::format("{}: page {} is damaged", path, *page)
                                              : fmt::format("{}: a page is damaged", path));
}

// Whether an I/O error is a full disk, and not what a sync has lost.
bool IsNoSpace(sqlite3* database, int code) {
  const int error = sqlite3_system_errno(database);
  return (error == ENOSPC || error == EDQUOT) && code != SQLITE_IOERR_FSYNC &&
         code != SQLITE_IOERR_DIR_FSYNC;
}

// Whether nobody can say what the disk holds after this.
bool EndsConnection(const absl::Status& status, int code) {
  return absl::IsDataLoss(status) ||
         ((code & 0xff) == SQLITE_IOERR && !absl::IsResourceExhausted(status));
}

absl::Status Ended(SqliteConnectionState& state, sqlite3* database, std::string_view why) {
  if (!state.ended.ok()) return state.ended;
  // Closing the last connection would write and sync once more.
  sqlite3_db_config(database, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
  state.ended = absl::UnavailableError(fmt::format("{}; it is not used any more", why));
  if (state.on_end != nullptr) state.on_end(state.ended);
  return state.ended;
}

// What `code`, the extended result code of a failed call, means.
absl::Status ToStatus(sqlite3* database, int code) {
  const std::string message = fmt::format(
      "{}: {}", PathOf(database),
      code == sqlite3_extended_errcode(database) ? sqlite3_errmsg(database) : sqlite3_errstr(code));
  switch (code & 0xff) {
    case SQLITE_CONSTRAINT:
      return ConstraintFailed(code, message);
    case SQLITE_FULL:
      return DiskFull(database);
    case SQLITE_IOERR:
      if (IsNoSpace(database, code)) return DiskFull(database);
      return code == SQLITE_IOERR_DATA ? DamagedPage(PathOf(database))
                                       : absl::InternalError(message);
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return absl::UnavailableError(fmt::format(
          "{} is in use by another process; stop that one or try again", PathOf(database)));
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return absl::DataLossError(message);
    case SQLITE_READONLY:
    case SQLITE_CANTOPEN:
    case SQLITE_PERM:
      // No policy or role of a federation: those have an exit code of their own.
      return WithExitCode(absl::PermissionDeniedError(message), ExitCode::kFailed);
    default:
      return absl::InternalError(message);
  }
}

// The same, and what it means for the connection.
absl::Status Judge(SqliteConnectionState& state, sqlite3* database, int code) {
  absl::Status status = ToStatus(database, code);
  const bool ends = EndsConnection(status, code);
  absl::Status written = state.CheckIsStill();
  if (absl::IsUnavailable(written)) status = std::move(written);
  if (!ends) return status;
  absl::Status ended = Ended(state, database, Message(status));
  return state.on_end == nullptr ? status : ended;
}

// Makes an empty file that only its owner can read; SQLite gives its journals
// the same permissions.
absl::Status MakePrivateFile(const std::filesystem::path& path) {
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) return ErrnoToStatus(errno, "open", path);
  ::close(fd);
  return absl::OkStatus();
}

}  // namespace

void SqliteStatement::Finalize::operator()(sqlite3_stmt* statement) const {
  sqlite3_finalize(statement);
}

SqliteStatement& SqliteStatement::Bound(int code) {
  if (bind_failure_ == SQLITE_OK) bind_failure_ = code;
  return *this;
}

SqliteStatement& SqliteStatement::BindInt64(int64_t value) {
  return Bound(sqlite3_bind_int64(statement_.get(), ++bound_, value));
}

SqliteStatement& SqliteStatement::Bind(double value) {
  return Bound(sqlite3_bind_double(statement_.get(), ++bound_, value));
}

SqliteStatement& SqliteStatement::Bind(std::string_view text) {
  // A null pointer would bind NULL instead of an empty text.
  const char* start = text.data() == nullptr ? "" : text.data();
  return Bound(sqlite3_bind_text64(statement_.get(), ++bound_, start, text.size(), SQLITE_TRANSIENT,
                                   SQLITE_UTF8));
}

SqliteStatement& SqliteStatement::Bind(std::span<const std::byte> blob) {
  return BindBlob({reinterpret_cast<const char*>(blob.data()), blob.size()});
}

SqliteStatement& SqliteStatement::BindBlob(std::string_view blob) {
  const char* start = blob.data() == nullptr ? "" : blob.data();
  return Bound(
      sqlite3_bind_blob64(statement_.get(), ++bound_, start, blob.size(), SQLITE_TRANSIENT));
}

SqliteStatement& SqliteStatement::BindNull() {
  return Bound(sqlite3_bind_null(statement_.get(), ++bound_));
}

absl::StatusOr<bool> SqliteStatement::Step() {
  RETURN_IF_ERROR(state_->ended);
  sqlite3* const database = sqlite3_db_handle(statement_.get());
  if (bind_failure_ != SQLITE_OK) return ToStatus(database, bind_failure_);
  if (state_->write_guard != nullptr && WritesAlone()) {
    return absl::InternalError(
        fmt::format("a write outside a transaction: {}", sqlite3_sql(statement_.get())));
  }
  const int code = sqlite3_step(statement_.get());
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) return false;
  return Judge(*state_, database, sqlite3_extended_errcode(database));
}

bool SqliteStatement::WritesAlone() const {
  return sqlite3_stmt_readonly(statement_.get()) == 0 &&
         sqlite3_get_autocommit(sqlite3_db_handle(statement_.get())) != 0;
}

int64_t SqliteStatement::Int64(int column) const {
  return sqlite3_column_int64(statement_.get(), column);
}

double SqliteStatement::Double(int column) const {
  return sqlite3_column_double(statement_.get(), column);
}

std::string SqliteStatement::Text(int column) const {
  const auto* start = sqlite3_column_text(statement_.get(), column);
  const int size = sqlite3_column_bytes(statement_.get(), column);
  return start == nullptr ? std::string() : std::string(reinterpret_cast<const char*>(start), size);
}

std::string SqliteStatement::Blob(int column) const {
  const void* start = sqlite3_column_blob(statement_.get(), column);
  const int size = sqlite3_column_bytes(statement_.get(), column);
  return start == nullptr ? std::string() : std::string(static_cast<const char*>(start), size);
}

bool SqliteStatement::IsNull(int column) const {
  return sqlite3_column_type(statement_.get(), column) == SQLITE_NULL;
}

void SqliteStatement::Reset() {
  sqlite3_reset(statement_.get());
  sqlite3_clear_bindings(statement_.get());
  bound_ = 0;
  bind_failure_ = SQLITE_OK;
}

void SqliteDatabase::Close::operator()(sqlite3* database) const { sqlite3_close_v2(database); }

absl::StatusOr<SqliteDatabase> SqliteDatabase::Open(const std::filesystem::path& path) {
  if (path != kInMemory) RETURN_IF_ERROR(MakePrivateFile(path));
  ASSIGN_OR_RETURN(SqliteDatabase database,
                   OpenWith(path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, nullptr));
  RETURN_IF_ERROR(database.Configure());
  return database;
}

absl::StatusOr<SqliteDatabase> SqliteDatabase::OpenChecked(const std::filesystem::path& path) {
  if (path == kInMemory) return Open(path);  // None of its pages is on a disk.
  RETURN_IF_ERROR(MakePrivateFile(path));
  RETURN_IF_ERROR(AddChecksums(path));
  ASSIGN_OR_RETURN(SqliteDatabase database,
                   OpenWith(path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, ChecksumVfs()));
  database.ReserveChecksumBytes();
  RETURN_IF_ERROR(database.Configure());
  return database;
}

absl::StatusOr<SqliteDatabase> SqliteDatabase::OpenToRead(const std::filesystem::path& path) {
  std::error_code ignored;
  if (!std::filesystem::exists(path, ignored)) return ErrnoToStatus(ENOENT, "open", path);
  ASSIGN_OR_RETURN(SqliteDatabase database, OpenWith(path, SQLITE_OPEN_READONLY, ChecksumVfs()));
  RETURN_IF_ERROR(database.Execute("PRAGMA trusted_schema = OFF;"));
  return database;
}

absl::StatusOr<SqliteDatabase> SqliteDatabase::OpenWith(const std::filesystem::path& path,
                                                        int flags, const char* vfs) {
  RETURN_IF_ERROR(CheckLog(path));
  if ((flags & SQLITE_OPEN_READWRITE) != 0) RemoveHalfNewLog(path);
  std::optional<DatabaseOnReadOnlyDisk> still;
  if ((flags & SQLITE_OPEN_READWRITE) == 0) still = DatabaseOnReadOnlyDisk::Find(path);
  flags |= SQLITE_OPEN_FULLMUTEX | (still.has_value() ? SQLITE_OPEN_URI : 0);
  const std::string name = still.has_value() ? still->Uri() : path.string();
  sqlite3* handle = nullptr;
  const int code = sqlite3_open_v2(name.c_str(), &handle, flags, vfs);
  SqliteDatabase database(handle);
  database.state_->on_read_only_disk = std::move(still);
  // Of what could not be opened SQLite knows no path.
  const int error = code == SQLITE_CANTOPEN ? sqlite3_system_errno(handle) : 0;
  if (error != 0) return ErrnoToStatus(error, "open", path);
  if (code != SQLITE_OK) return ToStatus(handle, code);
  sqlite3_extended_result_codes(handle, 1);
  sqlite3_busy_timeout(handle, kBusyTimeoutMs);
  return database;
}

absl::Status SqliteDatabase::Configure() {
  return Execute(
      "PRAGMA journal_mode = WAL;"
      "PRAGMA synchronous = FULL;"
      "PRAGMA foreign_keys = ON;"
      "PRAGMA trusted_schema = OFF;");
}

void SqliteDatabase::OnEnd(std::function<void(const absl::Status&)> on_end) {
  state_->on_end = std::move(on_end);
}

void SqliteDatabase::CheckpointEvery(int pages) {
  state_->checkpoint_pages = pages;
  sqlite3_wal_hook(database_.get(), AfterCommit, state_.get());
}

// What is committed stays so whatever becomes of the checkpoint.
int SqliteDatabase::AfterCommit(void* state, sqlite3* database, const char* name, int pages) {
  auto& connection = *static_cast<SqliteConnectionState*>(state);
  if (pages < connection.checkpoint_pages || !connection.ended.ok()) return SQLITE_OK;
  const int code =
      sqlite3_wal_checkpoint_v2(database, name, SQLITE_CHECKPOINT_PASSIVE, nullptr, nullptr);
  if (code != SQLITE_OK) Judge(connection, database, code).IgnoreError();
  return SQLITE_OK;
}

absl::Status SqliteDatabase::End(std::string_view why) {
  return Ended(*state_, database_.get(), why);
}

void SqliteDatabase::SetWriteGuard(std::function<absl::Status(SqliteDatabase&)> guard) {
  state_->write_guard = std::move(guard);
}

bool SqliteDatabase::HasMoved() const {
  int moved = 0;
  sqlite3_file_control(database_.get(), "main", SQLITE_FCNTL_HAS_MOVED, &moved);
  return moved != 0;
}

absl::StatusOr<int64_t> SqliteDatabase::SchemaVersion() const {
  ASSIGN_OR_RETURN(SqliteStatement statement, Prepare("PRAGMA user_version"));
  RETURN_IF_ERROR(statement.Step().status());
  return statement.Int64(0);
}

absl::Status SqliteDatabase::Migrate(std::span<const std::string_view> steps) {
  const auto newest = static_cast<int64_t>(steps.size());
  ASSIGN_OR_RETURN(int64_t version, SchemaVersion());
  if (version > newest) {
    return absl::FailedPreconditionError(fmt::format(
        "{} was written by a newer version of this program (schema {}, this one knows {}); "
        "use the newer version",
        PathOf(database_.get()), version, newest));
  }
  for (; version < newest; ++version) RETURN_IF_ERROR(ApplyStep(steps[version], version));
  return absl::OkStatus();
}

absl::Status SqliteDatabase::ApplyStep(std::string_view step, int64_t version) {
  ASSIGN_OR_RETURN(SqliteTransaction transaction, SqliteTransaction::Begin(*this));
  ASSIGN_OR_RETURN(const int64_t current, SchemaVersion());
  if (current > version) return absl::OkStatus();  // Another process was faster.
  RETURN_IF_ERROR(Execute(std::string(step)));
  RETURN_IF_ERROR(Execute(fmt::format("PRAGMA user_version = {}", version + 1)));
  return std::move(transaction).Commit();
}

absl::StatusOr<SqliteStatement> SqliteDatabase::Prepare(std::string_view sql) const {
  RETURN_IF_ERROR(state_->ended);
  sqlite3_stmt* handle = nullptr;
  const char* rest = nullptr;
  const int code =
      sqlite3_prepare_v2(database_.get(), sql.data(), static_cast<int>(sql.size()), &handle, &rest);
  SqliteStatement statement(handle, state_);
  if (code != SQLITE_OK) return Judge(*state_, database_.get(), code);
  const bool more = sql.substr(rest - sql.data()).find_first_not_of(" \t\r\n;") != sql.npos;
  if (handle == nullptr || more) {
    return absl::InternalError(fmt::format("not one SQL statement: {}", sql));
  }
  return statement;
}

absl::Status SqliteDatabase::RunToEnd(SqliteStatement& statement) {
  if (statement.WritesAlone()) {
    ASSIGN_OR_RETURN(SqliteTransaction transaction, SqliteTransaction::Begin(*this));
    RETURN_IF_ERROR(RunToEnd(statement));
    return std::move(transaction).Commit();
  }
  while (true) {
    ASSIGN_OR_RETURN(const bool more, statement.Step());
    if (!more) return absl::OkStatus();
  }
}

absl::Status SqliteDatabase::Execute(const std::string& script) {
  RETURN_IF_ERROR(state_->ended);
  const int code = sqlite3_exec(database_.get(), script.c_str(), nullptr, nullptr, nullptr);
  return code == SQLITE_OK ? absl::OkStatus() : Judge(*state_, database_.get(), code);
}

int64_t SqliteDatabase::ChangedRows() const { return sqlite3_changes64(database_.get()); }

int64_t SqliteDatabase::LastInsertedRowId() const {
  return sqlite3_last_insert_rowid(database_.get());
}

absl::StatusOr<SqliteTransaction> SqliteTransaction::Begin(SqliteDatabase& database) {
  RETURN_IF_ERROR(database.Execute("BEGIN IMMEDIATE"));
  SqliteTransaction transaction(database.database_.get(), database.state_);
  const auto& guard = database.state_->write_guard;
  if (guard != nullptr) RETURN_IF_ERROR(guard(database));
  return transaction;
}

SqliteTransaction::~SqliteTransaction() {
  // SQLite has ended the transaction by itself after some errors.
  if (database_ == nullptr || sqlite3_get_autocommit(database_) != 0) return;
  sqlite3_exec(database_, "ROLLBACK", nullptr, nullptr, nullptr);
}

absl::Status SqliteTransaction::Commit() && {
  Check(database_ != nullptr, "a transaction is committed once");
  const int code = sqlite3_exec(database_, "COMMIT", nullptr, nullptr, nullptr);
  if (code != SQLITE_OK) return Judge(*state_, database_, code);
  database_ = nullptr;
  return absl::OkStatus();
}

}  // namespace fedtune
