// SPDX-License-Identifier: Apache-2.0

#include "ca/presentation.h"

#include <algorithm>
#include <span>
#include <utility>

#include "base/json.h"
#include "base/status_macros.h"
#include "base/units.h"
#include "fmt/format.h"
#include "nlohmann/json.hpp"
#include "privacy/identity/certificate_request.h"
#include "privacy/identity/pem.h"
#include "privacy/identity/public_key.h"
#include "privacy/identity/revocation_list.h"

namespace fedtune {
namespace {

using Json = nlohmann::ordered_json;

std::string Rfc3339(absl::Time time) {
  return absl::FormatTime("%Y-%m-%dT%H:%M:%SZ", time, absl::UTCTimeZone());
}

std::string Day(absl::Time time) { return absl::FormatTime("%Y-%m-%d", time, absl::UTCTimeZone()); }

// "2027-02-14 (in 30 days)".
std::string Until(absl::Time not_after, absl::Time now) {
  return now > not_after
             ? fmt::format("{} (expired {})", Day(not_after), HumanAgo(not_after, now))
             : fmt::format("{} (in {})", Day(not_after), HumanDuration(not_after - now));
}

// "revoked 2027-02-14 (2 h ago)".
std::string RevokedOn(absl::Time revoked_at, absl::Time now) {
  return fmt::format("revoked {} ({})", Day(revoked_at), HumanAgo(revoked_at, now));
}

Json IdentityJson(const Identity& identity) {
  return {{"federation", identity.federation},
          {"role", RoleName(identity.role)},
          {"name", identity.name}};
}

Json CertificateJson(const Certificate& certificate, absl::Time now) {
  Json json = IdentityJson(certificate.identity);
  json["hosts"] = certificate.hosts;
  json["not_before"] = Rfc3339(certificate.not_before);
  json["not_after"] = Rfc3339(certificate.not_after);
  json["expired"] = now > certificate.not_after;
  json["serial"] = certificate.serial;
  json["fingerprint"] = certificate.fingerprint.ToString();
  json["key_fingerprint"] = certificate.key_fingerprint.ToString();
  return json;
}

// Lines of a name and a value, the values one under the other.
std::string Lines(std::string_view title,
                  const std::vector<std::pair<std::string_view, std::string>>& fields) {
  std::string text = fmt::format("{}\n", title);
  for (const auto& [name, value] : fields) text += fmt::format("  {:<12}{}\n", name, value);
  return text;
}

std::string PresentCertificate(const Certificate& certificate, absl::Time now, bool json) {
  if (json) {
    Json object = {{"kind", "certificate"}};
    object.update(CertificateJson(certificate, now));
    return JsonLine(object);
  }
  std::vector<std::pair<std::string_view, std::string>> fields = {
      {"valid from", Day(certificate.not_before)},
      {"until", Until(certificate.not_after, now)},
      {"serial", certificate.serial},
      {"fingerprint", certificate.fingerprint.ToString()},
      {"key", certificate.key_fingerprint.ToString()}};
  if (!certificate.hosts.empty()) {
    fields.insert(fields.begin(), {"hosts", fmt::format("{}", fmt::join(certificate.hosts, ", "))});
  }
  return Lines(fmt::format("certificate of {}", Describe(certificate.identity)), fields);
}

std::string PresentAuthority(const AuthorityCertificate& authority, absl::Time now, bool json) {
  if (json) {
    return JsonLine(Json{{"kind", "authority"},
                         {"federation", authority.federation},
                         {"not_before", Rfc3339(authority.not_before)},
                         {"not_after", Rfc3339(authority.not_after)},
                         {"expired", now > authority.not_after},
                         {"fingerprint", authority.fingerprint.ToString()}});
  }
  return Lines(fmt::format("certificate of the authority of federation {}", authority.federation),
               {{"valid from", Day(authority.not_before)},
                {"until", Until(authority.not_after, now)},
                {"fingerprint", authority.fingerprint.ToString()}});
}

std::string PresentRequest(const CertificateRequest& request, bool json) {
  if (json) {
    Json object = {{"kind", "request"}};
    object.update(IdentityJson(request.identity()));
    object["key_fingerprint"] = request.key_fingerprint().ToString();
    return JsonLine(object);
  }
  return Lines(fmt::format("request for a certificate of {}", Describe(request.identity())),
               {{"key", request.key_fingerprint().ToString()}});
}

std::string PresentRevocations(const RevocationContent& list, bool json) {
  if (json) {
    Json revoked = Json::array();
    for (const RevokedCertificate& one : list.revoked) {
      revoked.push_back({{"serial", one.serial}, {"revoked_at", Rfc3339(one.revoked_at)}});
    }
    return JsonLine(Json{{"kind", "revocation_list"},
                         {"number", list.number},
                         {"signed_at", Rfc3339(list.signed_at)},
                         {"revoked", std::move(revoked)}});
  }
  std::string text =
      Lines("list of revoked certificates", {{"number", fmt::format("{}", list.number)},
                                             {"signed", Rfc3339(list.signed_at)},
                                             {"revoked", fmt::format("{}", list.revoked.size())}});
  for (const RevokedCertificate& one : list.revoked) {
    text += fmt::format("  {:<22}{}\n", Rfc3339(one.revoked_at), one.serial);
  }
  return text;
}

absl::StatusOr<std::string> PresentBlock(std::string_view pem, absl::Time now, bool json) {
  if (pem.find("CERTIFICATE REQUEST") != pem.npos) {
    ASSIGN_OR_RETURN(const CertificateRequest request, CertificateRequest::Parse(pem));
    return PresentRequest(request, json);
  }
  if (pem.find("X509 CRL") != pem.npos) {
    ASSIGN_OR_RETURN(const RevocationContent list, ParseRevocationList(pem));
    return PresentRevocations(list, json);
  }
  const absl::StatusOr<AuthorityCertificate> authority = ParseAuthorityCertificate(pem);
  if (authority.ok()) return PresentAuthority(*authority, now, json);
  ASSIGN_OR_RETURN(const Certificate certificate, ParseCertificate(pem));
  return PresentCertificate(certificate, now, json);
}

std::string FingerprintOf(const SigningRosterEntry& entry) {
  return KeyFingerprint(VerifyingKey{entry.suite, entry.public_key}).ToString();
}

}  // namespace

std::string PresentIssued(const std::vector<IssuedCertificate>& issued, absl::Time now, bool json) {
  std::string text;
  if (json) {
    for (const IssuedCertificate& entry : issued) {
      Json object = CertificateJson(entry.certificate, now);
      object["issued_at"] = Rfc3339(entry.issued_at);
      object["revoked_at"] = entry.revoked_at ? Json(Rfc3339(*entry.revoked_at)) : Json(nullptr);
      text += JsonLine(object);
    }
    return text;
  }
  size_t width = std::string_view("NAME").size();
  for (const auto& entry : issued) width = std::max(width, entry.certificate.identity.name.size());
  text = fmt::format("{:<{}}  {:<13}  {:<10}  {:<33}  SERIAL\n", "NAME", width, "ROLE", "ISSUED",
                     "VALID UNTIL");
  for (const auto& [certificate, issued_at, pem, revoked_at] : issued) {
    text +=
        fmt::format("{:<{}}  {:<13}  {:<10}  {:<33}  {}\n", certificate.identity.name, width,
                    RoleName(certificate.identity.role), Day(issued_at),
                    revoked_at ? RevokedOn(*revoked_at, now) : Until(certificate.not_after, now),
                    certificate.serial);
  }
  return text;
}

absl::StatusOr<std::string> PresentFile(std::string_view pem, absl::Time now, bool json) {
  const std::vector<std::string_view> blocks = SplitPem(pem);
  if (blocks.empty()) return absl::InvalidArgumentError("the file is empty");
  std::string text;
  for (const std::string_view block : blocks) {
    ASSIGN_OR_RETURN(const std::string part, PresentBlock(block, now, json));
    text += part;
  }
  return text;
}

std::string PresentRoster(const RosterContent& roster, bool verified, absl::Time now, bool json) {
  if (json) {
    Json institutions = Json::array();
    for (const SigningRosterEntry& entry : roster.entries) {
      institutions.push_back({{"number", entry.number},
                              {"name", entry.institution},
                              {"suite", SigningSuiteName(entry.suite)},
                              {"key_fingerprint", FingerprintOf(entry)}});
    }
    return JsonLine(Json{{"kind", "roster"},
                         {"federation", roster.federation},
                         {"version", roster.version},
                         {"signed_at", Rfc3339(roster.signed_at)},
                         {"verified", verified},
                         {"institutions", std::move(institutions)}});
  }
  std::string text = Lines(
      fmt::format("roster {} of federation {}", roster.version, roster.federation),
      {{"signed", fmt::format("{} ({})", Day(roster.signed_at), HumanAgo(roster.signed_at, now))},
       {"signature", verified ? "good" : "not verified; name the authority with --authority"}});
  text += fmt::format("{:>8}  {:<20}  {:<10}  KEY\n", "NUMBER", "INSTITUTION", "SUITE");
  for (const SigningRosterEntry& entry : roster.entries) {
    text += fmt::format("{:>8}  {:<20}  {:<10}  {}\n", entry.number, entry.institution,
                        SigningSuiteName(entry.suite), FingerprintOf(entry));
  }
  return text;
}

}  // namespace fedtune
