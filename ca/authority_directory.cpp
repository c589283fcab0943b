// SPDX-License-Identifier: Apache-2.0

#include "ca/authority_directory.h"

#include <array>
#include <string_view>

#include "base/files.h"
#include "base/status.h"
#include "base/status_macros.h"
#include "fmt/format.h"

namespace fedtune {
namespace {

// The certificate itself says everything; the other columns are for people who
// look into the database.
constexpr std::array<std::string_view, 1> kSchema = {
    "CREATE TABLE issued ("
    " serial TEXT PRIMARY KEY,"
    " identity TEXT NOT NULL,"
    " issued_at INTEGER NOT NULL,"  // Seconds since 1970.
    " not_after INTEGER NOT NULL,"
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

absl::Status RefuseToOverwrite(const Paths& paths) {
  for (const auto& path : {paths.key, paths.certificate, paths.issued}) {
    if (std::filesystem::exists(path)) {
      return absl::AlreadyExistsError(fmt::format(
          "{} exists: an authority is never overwritten; choose another folder", path.string()));
    }
  }
  return absl::OkStatus();
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
  RETURN_IF_ERROR(authority.key().SaveNew(paths.key));
  RETURN_IF_ERROR(WriteFileAtomically(paths.certificate, authority.ToPem()));
  ASSIGN_OR_RETURN(SqliteDatabase issued, OpenRecord(paths.issued));
  return AuthorityDirectory(std::move(authority), std::move(issued));
}

absl::StatusOr<AuthorityDirectory> AuthorityDirectory::Open(
    const std::filesystem::path& directory) {
  const Paths paths(directory);
  if (!std::filesystem::exists(paths.key)) {
    return absl::NotFoundError(
        fmt::format("no authority in {}; make one with: fedtune-ca init", directory.string()));
  }
  ASSIGN_OR_RETURN(PrivateKey key, PrivateKey::Load(paths.key));
  ASSIGN_OR_RETURN(const std::string pem, ReadFile(paths.certificate));
  absl::StatusOr<CertificateAuthority> authority =
      CertificateAuthority::Restore(std::move(key), pem);
  if (!authority.ok()) return Annotate(authority.status(), paths.certificate.string());
  ASSIGN_OR_RETURN(SqliteDatabase issued, OpenRecord(paths.issued));
  return AuthorityDirectory(*std::move(authority), std::move(issued));
}

absl::StatusOr<IssuedCertificate> AuthorityDirectory::Issue(const CertificateRequest& request,
                                                            const Approval& approval,
                                                            absl::Time now) {
  ASSIGN_OR_RETURN(std::string pem, authority_.Issue(request, approval, now));
  ASSIGN_OR_RETURN(Certificate certificate, ParseCertificate(pem));
  RETURN_IF_ERROR(issued_.Run("INSERT INTO issued VALUES (?, ?, ?, ?, ?)", certificate.serial,
                              ToUri(certificate.identity), absl::ToUnixSeconds(now),
                              absl::ToUnixSeconds(certificate.not_after), pem));
  return IssuedCertificate{
      .certificate = std::move(certificate), .issued_at = now, .pem = std::move(pem)};
}

absl::StatusOr<std::vector<IssuedCertificate>> AuthorityDirectory::List() const {
  ASSIGN_OR_RETURN(SqliteStatement select,
                   issued_.Prepare("SELECT serial, issued_at, pem FROM issued ORDER BY rowid"));
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
  }
}

}  // namespace fedtune
