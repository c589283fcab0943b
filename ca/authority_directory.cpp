// SPDX-License-Identifier: Apache-2.0

#include "ca/authority_directory.h"

#include <algorithm>
#include <array>
#include <map>
#include <string_view>
#include <system_error>
#include <utility>

#include "base/exit_code.h"
#include "base/files.h"
#include "base/status.h"
#include "base/status_macros.h"
#include "fmt/format.h"
#include "privacy/crypto/signing_key.h"
#include "privacy/identity/public_key.h"
#include "privacy/identity/signing_roster.h"

namespace fedtune {
namespace {

// The certificate itself says everything; the other columns are for people who
// look into the database.
constexpr std::array<std::string_view, 3> kSchema = {
    "CREATE TABLE issued ("
    " serial TEXT PRIMARY KEY,"
    " identity TEXT NOT NULL,"
    " issued_at INTEGER NOT NULL,"  // Seconds since 1970.
    " not_after INTEGER NOT NULL,"
    " pem TEXT NOT NULL"
    ") STRICT;",
    "CREATE TABLE institutions ("
    " number INTEGER PRIMARY KEY AUTOINCREMENT,"  // Never given twice.
    " name TEXT NOT NULL UNIQUE"
    ") STRICT;"
    "CREATE TABLE rosters ("
    " version INTEGER PRIMARY KEY AUTOINCREMENT,"
    " signed_at INTEGER NOT NULL,"  // Seconds since 1970.
    " text TEXT NOT NULL"
    ") STRICT;",
    "CREATE TABLE revoked ("
    " serial TEXT PRIMARY KEY REFERENCES issued (serial),"
    " revoked_at INTEGER NOT NULL"  // Seconds since 1970.
    ") STRICT;"
    "CREATE TABLE revocation_lists ("  // The newest one.
    " number INTEGER PRIMARY KEY AUTOINCREMENT,"
    " signed_at INTEGER NOT NULL,"
    " pem TEXT NOT NULL"
    ") STRICT;"};

struct Paths {
  explicit Paths(const std::filesystem::path& directory)
      : key(directory / "ca.key"),
        certificate(directory / "ca.crt"),
        issued(directory / "issued.db") {}

  std::filesystem::path key;
  std::filesystem::path certificate;
  std::filesystem::path issued;
};

absl::StatusOr<SqliteDatabase> OpenRecord(const std::filesystem::path& path) {
  ASSIGN_OR_RETURN(SqliteDatabase database, SqliteDatabase::Open(path));
  RETURN_IF_ERROR(database.Migrate(kSchema));
  return database;
}

// The record is made last: without it, and without a copy, nobody can have been certified.
absl::Status RefuseToOverwrite(const Paths& paths) {
  if (std::filesystem::exists(paths.key) && !std::filesystem::exists(paths.issued)) {
    return absl::AlreadyExistsError(
        fmt::format("{} exists, and no {}: was the making of this authority cut off? Then it has "
                    "certified nobody; move the folder away and make the authority again",
                    paths.key.string(), paths.issued.filename().string()));
  }
  for (const auto& path : {paths.key, paths.certificate, paths.issued}) {
    if (std::filesystem::exists(path)) {
      return absl::AlreadyExistsError(fmt::format(
          "{} exists: an authority is never overwritten; choose another folder", path.string()));
    }
  }
  return absl::OkStatus();
}

// A new one would give numbers and versions a second time, in silence.
absl::Status CheckHasItsRecord(const Paths& paths) {
  if (std::filesystem::exists(paths.issued)) return absl::OkStatus();
  return absl::DataLossError(fmt::format(
      "{} is missing, which knows the certificates, the institutions' numbers and the rosters of "
      "this authority: put back the newest copy of it; without one, an empty file of this name: "
      "then issue to every institution anew, from its request.pem, and sign rosters until their "
      "version is higher than the last that was handed out",
      paths.issued.string()));
}

// All of them or none: with a part of an authority nothing can be done.
absl::StatusOr<SqliteDatabase> WriteNew(const Paths& paths, const CertificateAuthority& authority) {
  RETURN_IF_ERROR(authority.key().SaveNew(paths.key));
  absl::Status written = WriteFileAtomically(paths.certificate, authority.ToPem());
  if (written.ok()) {
    absl::StatusOr<SqliteDatabase> issued = OpenRecord(paths.issued);
    if (issued.ok()) return issued;
    written = issued.status();
  }
  std::error_code ignored;
  for (const auto& path : {paths.key, paths.certificate, paths.issued}) {
    std::filesystem::remove(path, ignored);
  }
  return written;
}

}  // namespace

absl::StatusOr<AuthorityDirectory> AuthorityDirectory::Create(
    const std::filesystem::path& directory, std::string_view federation, absl::Duration valid_for,
    absl::Time now) {
  const Paths paths(directory);
  RETURN_IF_ERROR(RefuseToOverwrite(paths));
  ASSIGN_OR_RETURN(CertificateAuthority authority,
                   CertificateAuthority::Create(federation, valid_for, now));
  RETURN_IF_ERROR(MakeDirectories(directory));
  ASSIGN_OR_RETURN(SqliteDatabase issued, WriteNew(paths, authority));
  return AuthorityDirectory(std::move(authority), std::move(issued));
}

absl::StatusOr<AuthorityDirectory> AuthorityDirectory::Open(
    const std::filesystem::path& directory) {
  const Paths paths(directory);
  if (!std::filesystem::exists(paths.key)) {
    return OfNamedFile(absl::NotFoundError(
        fmt::format("no authority in {}; make one with: fedtune-ca init", directory.string())));
  }
  absl::StatusOr<PrivateKey> key = PrivateKey::Load(paths.key);
  RETURN_IF_ERROR(OfNamedFile(key.status()));
  ASSIGN_OR_RETURN(const std::string pem, ReadFile(paths.certificate));
  absl::StatusOr<CertificateAuthority> authority =
      CertificateAuthority::Restore(*std::move(key), pem);
  if (!authority.ok()) return Annotate(authority.status(), paths.certificate.string());
  RETURN_IF_ERROR(CheckHasItsRecord(paths));
  ASSIGN_OR_RETURN(SqliteDatabase issued, OpenRecord(paths.issued));
  return AuthorityDirectory(*std::move(authority), std::move(issued));
}

absl::StatusOr<std::vector<IssuedCertificate>> AuthorityDirectory::Issue(
    std::span<const CertificateRequest> requests, const Approval& approval, absl::Time now) {
  ASSIGN_OR_RETURN(SqliteTransaction transaction, SqliteTransaction::Begin(issued_));
  std::vector<IssuedCertificate> issued;
  for (const CertificateRequest& request : requests) {
    ASSIGN_OR_RETURN(IssuedCertificate one, IssueOne(request, approval, now));
    issued.push_back(std::move(one));
  }
  RETURN_IF_ERROR(std::move(transaction).Commit());
  return issued;
}

absl::StatusOr<IssuedCertificate> AuthorityDirectory::IssueOne(const CertificateRequest& request,
                                                               Approval approval, absl::Time now) {
  const bool signer = request.identity().role == Role::kSigner;
  if (signer && approval.identity.role == Role::kClient) approval.identity.role = Role::kSigner;
  RETURN_IF_ERROR(CheckKeyIsNotRevoked(request));
  ASSIGN_OR_RETURN(std::string pem, authority_.Issue(request, approval, now));
  ASSIGN_OR_RETURN(Certificate certificate, ParseCertificate(pem));
  RETURN_IF_ERROR(issued_.Run("INSERT INTO issued VALUES (?, ?, ?, ?, ?)", certificate.serial,
                              ToUri(certificate.identity), absl::ToUnixSeconds(now),
                              absl::ToUnixSeconds(certificate.not_after), pem));
  if (signer) {
    RETURN_IF_ERROR(issued_.Run("INSERT OR IGNORE INTO institutions (name) VALUES (?)",
                                certificate.identity.name));
  }
  return IssuedCertificate{
      .certificate = std::move(certificate), .issued_at = now, .pem = std::move(pem)};
}

absl::StatusOr<std::string> AuthorityDirectory::SignRoster(absl::Time now) {
  ASSIGN_OR_RETURN(const SigningKey key,
                   SigningKey::ParsePem(authority_.key().ToPem().RevealText()));
  ASSIGN_OR_RETURN(SqliteTransaction transaction, SqliteTransaction::Begin(issued_));
  const int64_t seconds = absl::ToUnixSeconds(now);
  RETURN_IF_ERROR(issued_.Run("INSERT INTO rosters (signed_at, text) VALUES (?, '')", seconds));
  const int64_t version = issued_.LastInsertedRowId();
  ASSIGN_OR_RETURN(std::vector<SigningRosterEntry> entries, ValidSigners(now));
  if (entries.empty()) {
    return absl::FailedPreconditionError(
        "no institution has a valid signing certificate yet; \"fedtune-ca issue\" gives one to "
        "every client whose request was made with \"fedtune-ca request\"");
  }
  ASSIGN_OR_RETURN(std::string text,
                   fedtune::SignRoster({.federation = authority_.certificate().federation,
                                        .version = static_cast<uint64_t>(version),
                                        .signed_at = absl::FromUnixSeconds(seconds),
                                        .entries = std::move(entries)},
                                       key));
  RETURN_IF_ERROR(issued_.Run("UPDATE rosters SET text = ? WHERE version = ?", text, version));
  RETURN_IF_ERROR(std::move(transaction).Commit());
  return text;
}

absl::StatusOr<std::vector<SigningRosterEntry>> AuthorityDirectory::ValidSigners(
    absl::Time now) const {
  ASSIGN_OR_RETURN(const std::vector<IssuedCertificate> issued, List());
  std::map<uint32_t, SigningRosterEntry> signers;
  for (const auto& [certificate, issued_at, pem, revoked_at] : issued) {
    if (certificate.identity.role != Role::kSigner || certificate.not_after < now) continue;
    if (revoked_at.has_value()) continue;
    RETURN_IF_ERROR(CheckIsOurs(certificate, pem));
    ASSIGN_OR_RETURN(const uint32_t number, NumberOf(certificate.identity.name));
    ASSIGN_OR_RETURN(VerifyingKey key, ReadVerifyingKey(pem));
    signers[number] = {.number = number,
                       .institution = certificate.identity.name,
                       .suite = key.suite,
                       .public_key = std::move(key.bytes)};
  }
  std::vector<SigningRosterEntry> entries;
  entries.reserve(signers.size());
  for (auto& [number, signer] : signers) entries.push_back(std::move(signer));
  return entries;
}

// A key that somebody has written into the record, or a disk has changed, comes on no roster.
absl::Status AuthorityDirectory::CheckIsOurs(const Certificate& certificate,
                                             std::string_view pem) const {
  const absl::Time then = std::max(certificate.not_before, authority_.certificate().not_before);
  if (CheckCertificate(pem, authority_.ToPem(), certificate.identity.role, then).ok()) {
    return absl::OkStatus();
  }
  return absl::DataLossError(
      fmt::format("issued.db: certificate {} of {} is damaged, or not of this authority; put back "
                  "the newest copy of the folder",
                  certificate.serial, Describe(certificate.identity)));
}

absl::StatusOr<uint32_t> AuthorityDirectory::NumberOf(const std::string& institution) const {
  ASSIGN_OR_RETURN(SqliteStatement find,
                   issued_.Prepare("SELECT number FROM institutions WHERE name = ?"));
  find.Bind(institution);
  ASSIGN_OR_RETURN(const bool found, find.Step());
  if (found && std::in_range<uint32_t>(find.Int64(0))) return static_cast<uint32_t>(find.Int64(0));
  return absl::DataLossError(
      fmt::format("issued.db: institution {} has lost its number", institution));
}

absl::StatusOr<std::vector<IssuedCertificate>> AuthorityDirectory::List() const {
  return Select("");
}

absl::StatusOr<std::vector<IssuedCertificate>> AuthorityDirectory::Select(
    const std::string& where) const {
  ASSIGN_OR_RETURN(
      SqliteStatement select,
      issued_.Prepare(std::string("SELECT issued.serial, issued_at, pem, revoked_at FROM issued "
                                  "LEFT JOIN revoked ON revoked.serial = issued.serial ") +
                      where + " ORDER BY issued.rowid"));
  std::vector<IssuedCertificate> issued;
  while (true) {
    ASSIGN_OR_RETURN(const bool more, select.Step());
    if (!more) return issued;
    absl::StatusOr<Certificate> certificate = ParseCertificate(select.Text(2));
    if (!certificate.ok()) {
      return absl::DataLossError(fmt::format("issued.db: certificate {} is damaged: {}",
                                             select.Text(0), Message(certificate.status())));
    }
    issued.push_back({.certificate = *std::move(certificate),
                      .issued_at = absl::FromUnixSeconds(select.Int64(1)),
                      .pem = select.Text(2)});
    if (!select.IsNull(3)) issued.back().revoked_at = absl::FromUnixSeconds(select.Int64(3));
  }
}

}  // namespace fedtune
