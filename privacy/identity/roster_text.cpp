// SPDX-License-Identifier: Apache-2.0

#include "privacy/identity/roster_text.h"

#include <array>
#include <limits>
#include <set>
#include <span>
#include <utility>

#include "absl/strings/escaping.h"
#include "base/check.h"
#include "base/json.h"
#include "base/status.h"
#include "base/status_macros.h"
#include "fmt/format.h"
#include "privacy/crypto/canonical_bytes.h"
#include "privacy/crypto/ed25519_size.h"
#include "privacy/crypto/p256.h"
#include "privacy/identity/identity.h"

namespace fedtune {
namespace {

using Json = nlohmann::json;

constexpr std::string_view kFormat = "fedtune signing roster 1";
constexpr std::string_view kLabel = "ffl/v1/roster";
constexpr char kTimeFormat[] = "%Y-%m-%dT%H:%M:%SZ";
constexpr size_t kTimeSize = 20;  // absl also reads "infinite-past".
constexpr size_t kSignatureSize = 64;
constexpr std::array kSuites = {CipherSuite::kCurve25519, CipherSuite::kNistP256};

std::string Base64(std::span<const uint8_t> bytes) {
  return absl::Base64Escape({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
}

std::string TimeText(absl::Time time) {
  return absl::FormatTime(kTimeFormat, time, absl::UTCTimeZone());
}

// Reads the members of one object and keeps the first thing that is wrong.
class ObjectReader {
 public:
  // `place` names the object in messages, with what separates it from a member.
  ObjectReader(const Json& object, std::string place, size_t members)
      : object_(object), place_(std::move(place)) {
    if (!object.is_object()) {
      Fail("", "must be an object");
    } else if (object.size() > members) {
      Fail("", fmt::format("has more members than the {} of a roster's", members));
    }
  }

  uint64_t Number(const char* name, uint64_t at_most) {
    const Json& value = Member(name);
    if (value.is_number_unsigned() && value.get<uint64_t>() <= at_most) {
      return value.get<uint64_t>();
    }
    Fail(name, fmt::format("must be a whole number from 0 to {}", at_most));
    return 0;
  }

  std::string Text(const char* name) {
    const Json& value = Member(name);
    if (value.is_string()) return value.get<std::string>();
    Fail(name, "must be a text");
    return "";
  }

  Bytes Binary(const char* name) {
    const std::string text = Text(name);
    std::string bytes;
    // The one encoding of these bytes: no spaces, no stray bits, with padding.
    if (!absl::Base64Unescape(text, &bytes) || Base64(SpanOf(bytes)) != text) {
      Fail(name, "must be base64");
      return {};
    }
    return Bytes(bytes.begin(), bytes.end());
  }

  absl::Time Time(const char* name) {
    const std::string text = Text(name);
    absl::Time time;
    if (text.size() != kTimeSize || !absl::ParseTime(kTimeFormat, text, &time, nullptr) ||
        TimeText(time) != text) {
      Fail(name, "must be a time such as 2027-01-15T08:00:00Z");
    }
    return time;
  }

  CipherSuite Suite(const char* name) {
    const std::string text = Text(name);
    for (const CipherSuite suite : kSuites) {
      if (text == SigningSuiteName(suite)) return suite;
    }
    Fail(name, "must be ed25519 or ecdsa-p256");
    return CipherSuite::kCurve25519;
  }

  const Json& Array(const char* name) {
    static const Json kNone = Json::array();
    const Json& value = Member(name);
    if (value.is_array()) return value;
    Fail(name, "must be an array");
    return kNone;
  }

  void Fail(std::string_view name, std::string_view problem) {
    if (!status_.ok()) return;
    status_ = absl::InvalidArgumentError(fmt::format(
        "{}{}{}{}", place_, name, place_.empty() && name.empty() ? "it " : " ", problem));
  }

  const absl::Status& status() const { return status_; }

 private:
  const Json& Member(const char* name) {
    static const Json kNull;
    if (!object_.is_object()) return kNull;
    const auto found = object_.find(name);
    return found == object_.end() ? kNull : *found;
  }

  const Json& object_;
  const std::string place_;
  absl::Status status_;
};

absl::StatusOr<SigningRosterEntry> ParseEntry(const Json& json, size_t index) {
  ObjectReader reader(json, fmt::format("institutions[{}].", index), 4);
  SigningRosterEntry entry;
  entry.number =
      static_cast<uint32_t>(reader.Number("number", std::numeric_limits<uint32_t>::max()));
  entry.institution = reader.Text("name");
  entry.suite = reader.Suite("suite");
  entry.public_key = reader.Binary("public_key");
  RETURN_IF_ERROR(reader.status());
  return entry;
}

absl::Status CheckKey(const SigningRosterEntry& entry) {
  const bool good = entry.suite == CipherSuite::kNistP256 ? P256PublicKey(entry.public_key).ok()
                                                          : entry.public_key.size() == kEd25519Size;
  if (good) return absl::OkStatus();
  return absl::InvalidArgumentError(
      fmt::format("public_key is none of {}", SigningSuiteName(entry.suite)));
}

// What an entry must be after those before it.
class EntryCheck {
 public:
  absl::Status Add(const SigningRosterEntry& entry) {
    RETURN_IF_ERROR(CheckIdentityName("name", entry.institution));
    RETURN_IF_ERROR(CheckKey(entry));
    if (entry.number <= last_) {
      return absl::InvalidArgumentError(
          fmt::format("number {} does not follow {}: numbers start at 1, grow, and are there once",
                      entry.number, last_));
    }
    last_ = entry.number;
    if (!names_.insert(entry.institution).second) {
      return absl::InvalidArgumentError(
          fmt::format("name \"{}\" is there twice", entry.institution));
    }
    if (!keys_.insert(entry.public_key).second) {
      return absl::InvalidArgumentError("public_key is there twice");
    }
    return absl::OkStatus();
  }

 private:
  uint32_t last_ = 0;
  std::set<std::string_view> names_;
  std::set<Bytes> keys_;
};

}  // namespace

std::string_view SigningSuiteName(CipherSuite suite) {
  return suite == CipherSuite::kNistP256 ? "ecdsa-p256" : "ed25519";
}

absl::StatusOr<RosterText> ParseRoster(std::string_view text) {
  if (text.size() > kLongestRoster) {
    return absl::InvalidArgumentError(
        fmt::format("{} bytes are too many for a roster", text.size()));
  }
  ASSIGN_OR_RETURN(const Json json, ParseJson(text, "roster"));
  ObjectReader reader(json, "", 6);
  if (reader.Text("format") != kFormat) {
    reader.Fail("format", fmt::format("must be \"{}\"", kFormat));
  }
  RosterText roster;
  roster.content.federation = reader.Text("federation");
  roster.content.version = reader.Number("version", std::numeric_limits<int64_t>::max());
  roster.content.signed_at = reader.Time("signed_at");
  const Json& entries = reader.Array("institutions");
  roster.signature = reader.Binary("signature");
  if (roster.signature.size() != kSignatureSize) reader.Fail("signature", "must have 64 bytes");
  RETURN_IF_ERROR(reader.status());
  for (const Json& entry : entries) {
    ASSIGN_OR_RETURN(SigningRosterEntry read, ParseEntry(entry, roster.content.entries.size()));
    roster.content.entries.push_back(std::move(read));
  }
  RETURN_IF_ERROR(CheckRoster(roster.content));
  return roster;
}

std::string WriteRoster(const RosterText& roster) {
  using Ordered = nlohmann::ordered_json;
  Ordered entries = Ordered::array();
  for (const SigningRosterEntry& entry : roster.content.entries) {
    entries.push_back({{"number", entry.number},
                       {"name", entry.institution},
                       {"suite", SigningSuiteName(entry.suite)},
                       {"public_key", Base64(entry.public_key)}});
  }
  const Ordered json = {{"format", kFormat},
                        {"federation", roster.content.federation},
                        {"version", roster.content.version},
                        {"signed_at", TimeText(roster.content.signed_at)},
                        {"institutions", std::move(entries)},
                        {"signature", Base64(roster.signature)}};
  return json.dump(2) + "\n";
}

absl::Status CheckRoster(const RosterContent& content) {
  RETURN_IF_ERROR(CheckIdentityName("federation", content.federation));
  if (content.version == 0) return absl::InvalidArgumentError("version must be 1 or more");
  if (content.entries.size() > kMostRosterEntries) {
    return absl::InvalidArgumentError(fmt::format("institutions has {} entries; {} are the most",
                                                  content.entries.size(), kMostRosterEntries));
  }
  EntryCheck check;
  for (size_t i = 0; i < content.entries.size(); ++i) {
    RETURN_IF_ERROR(Annotate(check.Add(content.entries[i]), fmt::format("institutions[{}]", i)));
  }
  return absl::OkStatus();
}

std::vector<uint8_t> RosterBytes(const RosterContent& content) {
  CanonicalWriter writer;
  writer.Sized(kLabel)
      .Sized(content.federation)
      .U64(content.version)
      .U64(static_cast<uint64_t>(absl::ToUnixSeconds(content.signed_at)))
      .U32(static_cast<uint32_t>(content.entries.size()));
  for (const SigningRosterEntry& entry : content.entries) {
    writer.U32(entry.number)
        .Sized(entry.institution)
        .U8(static_cast<uint8_t>(entry.suite))
        .Sized(entry.public_key);
  }
  return std::move(writer).Take();
}

}  // namespace fedtune
