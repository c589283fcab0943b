// SPDX-License-Identifier: Apache-2.0

#include <string>
#include <string_view>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "base/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "privacy/audit/checkpoint.h"
#include "privacy/crypto/canonical_bytes.h"
#include "privacy/crypto/ecdsa_encoding.h"
#include "privacy/identity/certificate.h"
#include "tests/support/signing_coordinator.h"
#include "tests/support/status_matchers.h"

namespace fedtune {
namespace {

using ::testing::AllOf;
using testing::HasCode;
using ::testing::HasSubstr;
using testing::IsOk;
using testing::SigningCoordinator;
using ::testing::StartsWith;

const absl::Time kNow = absl::FromUnixSeconds(1'800'000'000);  // 2027-01-15

// SHA-256 of nothing, the root of an empty log.
constexpr char kEmptyRoot[] = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";

CertificateAuthority NewAuthority(std::string_view federation = "north") {
  return *CertificateAuthority::Create(federation, absl::Hours(24 * 365), kNow);
}

class CheckpointTest : public ::testing::Test {
 protected:
  absl::StatusOr<LogCheckpoint> Verify(const SignedCheckpoint& checkpoint) const {
    return VerifyCheckpoint(checkpoint, authority_.ToPem());
  }

  // What is said of a note with the coordinator's certificate.
  absl::StatusOr<LogCheckpoint> VerifyNote(std::string_view note) const {
    return Verify({std::string(note), hub_.certificate_pem()});
  }

  // A note with any text, which the coordinator has truly signed.
  std::string NoteOf(std::string_view text, std::string_view name = "fedtune.log/north") const {
    return absl::StrCat(std::string(text), "\n\u2014 ", std::string(name), " ", SignatureOf(text),
                        "\n");
  }

  std::string SignatureOf(std::string_view text) const {
    const Certificate certificate = *ParseCertificate(hub_.certificate_pem());
    std::string bytes = certificate.key_fingerprint.ToBinary().substr(0, 4);
    for (const uint8_t byte : EcdsaToDer(hub_.key().Sign(SpanOf(text)))) {
      bytes.push_back(static_cast<char>(byte));
    }
    return absl::Base64Escape(bytes);
  }

  std::string Malformed(std::string_view note) const {
    const absl::Status status = VerifyNote(note).status();
    EXPECT_THAT(status, HasCode(absl::StatusCode::kInvalidArgument)) << note;
    return std::string(Message(status));
  }

  CertificateAuthority authority_ = NewAuthority();
  SigningCoordinator hub_{authority_, kNow};
  LogCheckpoint checkpoint_ = {.federation = "north", .head = {1234, Sha256Of("root")}};
  SignedCheckpoint signed_ = hub_.Sign(checkpoint_);
  std::string root_ = absl::Base64Escape(checkpoint_.head.root.ToBinary());
  std::string text_ = absl::StrCat("fedtune.log/north\n1234\n", root_, "\n");
};

TEST_F(CheckpointTest, IsReadAsItWasSigned) {
  const absl::StatusOr<LogCheckpoint> read = Verify(signed_);
  ASSERT_THAT(read, IsOk()) << read.status();
  EXPECT_EQ(*read, checkpoint_);
}

TEST_F(CheckpointTest, IsANoteAsOtherTransparencyLogsHaveIt) {
  EXPECT_THAT(signed_.note, StartsWith(absl::StrCat(text_, "\n\u2014 fedtune.log/north ")));
  EXPECT_THAT(VerifyNote(NoteOf(text_)), IsOk());
}

TEST_F(CheckpointTest, MayBeOfAnEmptyLogAndOfTheLongest) {
  const std::string empty = absl::StrCat("fedtune.log/north\n0\n", kEmptyRoot, "\n");
  EXPECT_EQ(VerifyNote(NoteOf(empty))->head, (LogHead{0, Sha256Of("")}));
  const std::string longest =
      absl::StrCat("fedtune.log/north\n18446744073709551615\n", root_, "\n");
  EXPECT_EQ(VerifyNote(NoteOf(longest))->head.size, ~uint64_t{0});
}

TEST_F(CheckpointTest, StaysGoodAfterItsCertificateHasExpired) {
  const SigningCoordinator former(authority_, kNow + absl::Hours(24 * 200));
  EXPECT_THAT(Verify(former.Sign(checkpoint_)), IsOk());
  // The custodian's clock may be a little before the authority's beginning.
  const SigningCoordinator first(authority_, kNow - absl::Minutes(1));
  EXPECT_THAT(Verify(first.Sign(checkpoint_)), IsOk());
}

TEST_F(CheckpointTest, PassesOverSignaturesOfOthers) {
  const std::string other = absl::Base64Escape("none of ours");
  std::string note = signed_.note;
  for (int i = 0; i < 15; ++i) {
    absl::StrAppend(&note, "\u2014 witness.example/m\u00fcller ", other, "\n");
  }
  EXPECT_THAT(VerifyNote(note), IsOk());
  // By the coordinator's name, but of another key: of its last certificate, perhaps.
  EXPECT_THAT(VerifyNote(absl::StrCat(signed_.note, "\u2014 fedtune.log/north ", other, "\n")),
              IsOk());
}

TEST_F(CheckpointTest, IsNotTakenWithoutTheCoordinatorsSignature) {
  const auto refused = HasCode(absl::StatusCode::kUnauthenticated);
  const std::string others =
      absl::StrCat(text_, "\n\u2014 witness.example ", absl::Base64Escape("none of ours"), "\n");
  EXPECT_THAT(VerifyNote(others), refused);
  EXPECT_THAT(VerifyNote(NoteOf(text_, "fedtune.log/south")), refused);
  EXPECT_THAT(Verify({signed_.note, SigningCoordinator(authority_, kNow).certificate_pem()}),
              refused);
}

TEST_F(CheckpointTest, IsNotTakenWithAnotherTextOrSignature) {
  const auto refused = HasCode(absl::StatusCode::kUnauthenticated);
  EXPECT_THAT(VerifyNote(absl::StrReplaceAll(signed_.note, {{"1234", "1235"}})), refused);
  const std::string other_root = absl::Base64Escape(Sha256Of("other").ToBinary());
  EXPECT_THAT(VerifyNote(absl::StrReplaceAll(signed_.note, {{root_, other_root}})), refused);
  // Two signatures of the coordinator's key, of which one is of another text.
  const std::string other = SignatureOf("another text");
  EXPECT_THAT(VerifyNote(absl::StrCat(signed_.note, "\u2014 fedtune.log/north ", other, "\n")),
              refused);
}

TEST_F(CheckpointTest, EveryBitOfTheSignatureCounts) {
  const std::string signature = SignatureOf(text_);
  std::string bytes;
  ASSERT_TRUE(absl::Base64Unescape(signature, &bytes));
  for (size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    std::string altered = bytes;
    altered[bit / 8] = static_cast<char>(altered[bit / 8] ^ (1 << (bit % 8)));
    const std::string note =
        absl::StrCat(text_, "\n\u2014 fedtune.log/north ", absl::Base64Escape(altered), "\n");
    EXPECT_THAT(VerifyNote(note), HasCode(absl::StatusCode::kUnauthenticated)) << bit;
  }
}

TEST_F(CheckpointTest, IsOfTheFederationAndItsAuthority) {
  const auto refused = HasCode(absl::StatusCode::kUnauthenticated);
  const LogCheckpoint south = {.federation = "south", .head = checkpoint_.head};
  const absl::StatusOr<LogCheckpoint> other_federation = Verify(hub_.Sign(south));
  EXPECT_THAT(other_federation, refused);
  EXPECT_THAT(Message(other_federation.status()), AllOf(HasSubstr("north"), HasSubstr("south")));
  const CertificateAuthority impostor = NewAuthority();
  EXPECT_THAT(Verify(SigningCoordinator(impostor, kNow).Sign(checkpoint_)), refused);
}

TEST_F(CheckpointTest, IsOnlyTheCoordinatorsToSign) {
  const auto refused = HasCode(absl::StatusCode::kPermissionDenied);
  for (const Role role : {Role::kClient, Role::kAdministrator, Role::kSigner}) {
    EXPECT_THAT(Verify(SigningCoordinator(authority_, kNow, role).Sign(checkpoint_)), refused);
  }
}

TEST_F(CheckpointTest, NeedsCertificates) {
  const auto refused = HasCode(absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(Verify({signed_.note, ""}), refused);
  EXPECT_THAT(Verify({signed_.note, authority_.ToPem()}), refused);
  EXPECT_THAT(VerifyCheckpoint(signed_, ""), refused);
  EXPECT_THAT(VerifyCheckpoint(signed_, hub_.certificate_pem()), refused);
}

TEST_F(CheckpointTest, ConsistsOfThreeLinesAnEmptyOneAndSignatures) {
  const std::string parts = "federation, size, root, an empty line and signatures";
  EXPECT_THAT(Malformed(""), HasSubstr(parts));
  EXPECT_THAT(Malformed(text_), HasSubstr(parts));
  EXPECT_THAT(Malformed(text_ + "\n"), HasSubstr(parts));
  EXPECT_THAT(Malformed(NoteOf(text_ + "an extension\n")), HasSubstr(parts));
  EXPECT_THAT(Malformed(NoteOf("fedtune.log/north\n1234\n")), HasSubstr(parts));
  EXPECT_THAT(Malformed(NoteOf("\n" + text_)), HasSubstr(parts));
  EXPECT_THAT(Malformed(absl::StrReplaceAll(signed_.note, {{"\n", "\r\n"}})), HasSubstr(parts));
  EXPECT_THAT(Malformed(signed_.note.substr(0, signed_.note.size() - 1)),
              HasSubstr("its last line does not end"));
  EXPECT_THAT(Malformed(signed_.note + "\n"), HasSubstr("is no signature"));
}

TEST_F(CheckpointTest, NamesAFederation) {
  const std::string rest = absl::StrCat("\n1234\n", root_, "\n");
  EXPECT_THAT(Malformed(NoteOf("go.sum database tree" + rest)), HasSubstr("fedtune.log/"));
  EXPECT_THAT(Malformed(NoteOf("fedtune.log/" + rest)), HasSubstr("federation"));
  EXPECT_THAT(Malformed(NoteOf("fedtune.log/North" + rest)), HasSubstr("federation"));
  EXPECT_THAT(Malformed(NoteOf("fedtune.log/north " + rest)), HasSubstr("federation"));
}

TEST_F(CheckpointTest, HasASizeInOneSpelling) {
  for (const char* size : {"", "01234", "+1234", "-1", " 1234", "1234 ", "0x4d2", "1e3", "12.0",
                           "18446744073709551616", "\u0661"}) {
    const std::string text = absl::StrCat("fedtune.log/north\n", size, "\n", root_, "\n");
    EXPECT_THAT(Malformed(NoteOf(text)), HasSubstr("no number of entries")) << size;
  }
}

TEST_F(CheckpointTest, HasARootInOneSpelling) {
  const auto with_root = [this](std::string_view root) {
    return Malformed(NoteOf(absl::StrCat("fedtune.log/north\n1234\n", std::string(root), "\n")));
  };
  EXPECT_THAT(with_root("no base64!"), HasSubstr("base64"));
  EXPECT_THAT(with_root(root_.substr(0, root_.size() - 1)), HasSubstr("base64"));
  EXPECT_THAT(with_root(root_ + " "), HasSubstr("base64"));
  std::string stray_bits = root_;  // 32 bytes leave two bits of the last digit unused.
  ++stray_bits[stray_bits.size() - 2];
  EXPECT_THAT(with_root(stray_bits), HasSubstr("base64"));
  EXPECT_THAT(with_root(absl::Base64Escape(std::string(31, 'r'))), HasSubstr("root of the log"));
  EXPECT_THAT(with_root(absl::Base64Escape(std::string(33, 'r'))), HasSubstr("root of the log"));
  EXPECT_THAT(Malformed(NoteOf(absl::StrCat("fedtune.log/north\n0\n", root_, "\n"))),
              HasSubstr("empty log"));
}

TEST_F(CheckpointTest, HasSignaturesInOneForm) {
  const std::string good = SignatureOf(text_);
  const auto with_line = [this](std::string_view line) {
    return Malformed(absl::StrCat(signed_.note, std::string(line), "\n"));
  };
  EXPECT_THAT(with_line("- fedtune.log/north " + good), HasSubstr("is no signature"));
  EXPECT_THAT(with_line("\u2014fedtune.log/north " + good), HasSubstr("is no signature"));
  EXPECT_THAT(with_line("\u2014 " + good), HasSubstr("has no name"));
  EXPECT_THAT(with_line("\u2014  " + good), HasSubstr("has no name"));
  EXPECT_THAT(with_line("\u2014 a+b " + good), HasSubstr("has no name"));
  EXPECT_THAT(with_line("\u2014 a\tb " + good), HasSubstr("has no name"));
  EXPECT_THAT(with_line("\u2014 a\xff " + good), HasSubstr("has no name"));
  EXPECT_THAT(with_line("\u2014 fedtune.log/north  " + good), HasSubstr("base64"));
  EXPECT_THAT(with_line("\u2014 fedtune.log/north " + good + "="), HasSubstr("base64"));
  EXPECT_THAT(with_line("\u2014 fedtune.log/north " + absl::Base64Escape("four")),
              HasSubstr("too short"));
}

TEST_F(CheckpointTest, HasNoMoreSignaturesThanAreLookedAt) {
  std::string note = signed_.note;
  const std::string line =
      absl::StrCat("\u2014 witness.example ", absl::Base64Escape("none of ours"), "\n");
  for (int i = 0; i < 63; ++i) note += line;
  EXPECT_THAT(VerifyNote(note), IsOk());
  EXPECT_THAT(Malformed(note + line), HasSubstr("more than 64 signatures"));
  EXPECT_THAT(Malformed(signed_.note + std::string(kLongestCheckpoint, '\n')),
              HasSubstr("more than 131072 bytes"));
}

}  // namespace
}  // namespace fedtune
