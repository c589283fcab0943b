// SPDX-License-Identifier: Apache-2.0

// A checkpoint of a coordinator's log. Behind a first byte that is odd stand a note's text
// and signatures of others, and the coordinator signs them; behind an even one a whole note.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "absl/strings/escaping.h"
#include "base/check.h"
#include "privacy/audit/checkpoint.h"
#include "privacy/crypto/canonical_bytes.h"
#include "privacy/crypto/ecdsa_encoding.h"
#include "privacy/identity/public_key.h"
#include "tests/support/signing_coordinator.h"

namespace {

using fedtune::CertificateAuthority;
using fedtune::testing::SigningCoordinator;

const absl::Time kNow = absl::FromUnixSeconds(1'800'000'000);

const CertificateAuthority& Authority() {
  static const CertificateAuthority& authority =
      *new CertificateAuthority(*CertificateAuthority::Create("north", absl::Hours(9999), kNow));
  return authority;
}

const SigningCoordinator& Hub() {
  static const SigningCoordinator& hub = *new SigningCoordinator(Authority(), kNow);
  return hub;
}

// What a note has before its signatures, and after.
constexpr std::string_view kBlank = "\n\n";

std::string Signed(std::string_view note) {
  const std::string text(note.substr(0, note.find(kBlank) + 1));
  std::string bytes = fedtune::KeyFingerprint(Hub().key().get()).ToBinary().substr(0, 4);
  for (const uint8_t byte : fedtune::EcdsaToDer(Hub().key().Sign(fedtune::SpanOf(text)))) {
    bytes.push_back(static_cast<char>(byte));
  }
  return std::string(note) + "\u2014 fedtune.log/north " + absl::Base64Escape(bytes) + "\n";
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  std::string note(reinterpret_cast<const char*>(data + 1), size - 1);
  if (data[0] % 2 == 1) note = Signed(note);
  const auto checkpoint =
      fedtune::VerifyCheckpoint({note, Hub().certificate_pem()}, Authority().ToPem());
  if (!checkpoint.ok()) return 0;
  fedtune::Check(checkpoint->federation == "north", "it is of the authority's federation");
  const std::string again = fedtune::SignCheckpoint(*checkpoint, Hub().key());
  fedtune::Check(note.starts_with(again.substr(0, again.find(kBlank) + kBlank.size())),
                 "a checkpoint has one text");
  return 0;
}
