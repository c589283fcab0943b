// SPDX-License-Identifier: Apache-2.0

#include "privacy/identity/certificate_request.h"

#include <string>

#include "base/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "privacy/identity/forged_certificate.h"
#include "privacy/identity/public_key.h"
#include "tests/support/status_matchers.h"

namespace fedtune {
namespace {

using testing::ForgeRequest;
using testing::Forgery;
using testing::HasCode;
using ::testing::HasSubstr;
using testing::IsOk;
using testing::KeyOn;

const Identity kStAnna = {.federation = "north", .role = Role::kClient, .name = "st-anna"};

class CertificateRequestTest : public ::testing::Test {
 protected:
  // The message with which a request with these alternative names is refused.
  std::string Refusal(const char* alternative_names) {
    const absl::Status status =
        CertificateRequest::Parse(
            ForgeRequest({.extensions = {{"subjectAltName", alternative_names}},
                          .not_before = {},
                          .not_after = {}},
                         key_.get(), key_.get()))
            .status();
    EXPECT_THAT(status, HasCode(absl::StatusCode::kInvalidArgument));
    return std::string(Message(status));
  }

  const PrivateKey key_ = PrivateKey::Generate();
};

TEST_F(CertificateRequestTest, ReadsBackWhatItAsksFor) {
  const absl::StatusOr<CertificateRequest> request =
      CertificateRequest::Parse(*MakeCertificateRequest(key_, kStAnna));
  ASSERT_THAT(request, IsOk());
  EXPECT_EQ(request->identity(), kStAnna);
  EXPECT_EQ(request->key_fingerprint(), KeyFingerprint(key_.get()));
}

TEST_F(CertificateRequestTest, IsNotMadeForAWrongName) {
  EXPECT_THAT(MakeCertificateRequest(key_, {.federation = "north", .name = "St. Anna"}),
              HasCode(absl::StatusCode::kInvalidArgument));
}

TEST_F(CertificateRequestTest, RefusesAKeyThatTheSenderDoesNotHold) {
  const PrivateKey other = PrivateKey::Generate();
  const Forgery forgery = {.extensions = {{"subjectAltName", "URI:fedtune://north/client/st-anna"}},
                           .not_before = {},
                           .not_after = {}};
  const absl::Status status =
      CertificateRequest::Parse(ForgeRequest(forgery, other.get(), key_.get())).status();
  EXPECT_THAT(status, HasCode(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(std::string(Message(status)), HasSubstr("not signed by the key that it is for"));
}

TEST_F(CertificateRequestTest, RefusesAnotherKindOfKey) {
  const auto key = KeyOn("P-384");
  const Forgery forgery = {.extensions = {{"subjectAltName", "URI:fedtune://north/client/st-anna"}},
                           .not_before = {},
                           .not_after = {}};
  EXPECT_THAT(CertificateRequest::Parse(ForgeRequest(forgery, key.get(), key.get())),
              HasCode(absl::StatusCode::kInvalidArgument));
}

TEST_F(CertificateRequestTest, RefusesNoIdentity) {
  EXPECT_THAT(CertificateRequest::Parse(ForgeRequest({}, key_.get(), key_.get())),
              HasCode(absl::StatusCode::kInvalidArgument));
}

TEST_F(CertificateRequestTest, RefusesTwoIdentities) {
  EXPECT_THAT(Refusal("URI:fedtune://north/client/st-anna,URI:fedtune://north/client/uke"),
              HasSubstr("2 URIs"));
}

TEST_F(CertificateRequestTest, RefusesAUriThatIsNoIdentity) {
  EXPECT_THAT(Refusal("URI:https://example.org/"), HasSubstr("is no identity"));
}

TEST_F(CertificateRequestTest, RefusesHosts) {
  EXPECT_THAT(Refusal("URI:fedtune://north/client/st-anna,DNS:example.org"),
              HasSubstr("names hosts"));
}

TEST_F(CertificateRequestTest, RefusesAnEmailAddress) {
  EXPECT_THAT(Refusal("URI:fedtune://north/client/st-anna,email:a@example.org"),
              HasSubstr("neither a URI nor a host"));
}

TEST_F(CertificateRequestTest, RefusesWhatIsNoRequest) {
  EXPECT_THAT(CertificateRequest::Parse("a letter"), HasCode(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(CertificateRequest::Parse(""), HasCode(absl::StatusCode::kInvalidArgument));
}

TEST_F(CertificateRequestTest, RefusesAChangedRequest) {
  std::string pem = *MakeCertificateRequest(key_, kStAnna);
  int accepted = 0;
  for (size_t i = 40; i < pem.size() - 40; i += 7) {
    std::string changed = pem;
    changed[i] = changed[i] == 'A' ? 'B' : 'A';
    if (changed != pem && CertificateRequest::Parse(changed).ok()) ++accepted;
  }
  EXPECT_EQ(accepted, 0);
}

}  // namespace
}  // namespace fedtune
