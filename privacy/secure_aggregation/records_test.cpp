// SPDX-License-Identifier: Apache-2.0

// What both sides store for the time after a restart: what is damaged, or of
// somebody else, is refused.

#include <span>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/secure_round.h"
#include "tests/support/status_matchers.h"

namespace fedtune {
namespace {

using testing::HasCode;
using testing::IsOk;
using ::testing::Not;
using testing::PlayedRound;
using testing::SecretOf;
using testing::SecureRound;
using testing::SecureRoundOptions;
using Phase = CoordinatorSession::Phase;

// ---- A client's records ----

class RecordsTest : public ::testing::Test {
 protected:
  RecordsTest() : round_(SecureRoundOptions()), records_(RecordsOf(round_, 2)) {}

  static std::vector<Bytes> RecordsOf(const SecureRound& round, uint32_t number) {
    PlayedRound played(round);
    played.Play();
    Check(played.coordinator().phase() == Phase::kDone, played.coordinator().failure());
    return played.client(number).records();
  }

  absl::Status Resumed(const std::vector<Bytes>& records) const {
    return ClientSession::Resume(round_.ClientOptions(2), records).status();
  }

  SecureRound round_;
  std::vector<Bytes> records_;
};

TEST_F(RecordsTest, AreRefusedWhenCutShort) {
  ASSERT_EQ(records_.size(), 7u);
  for (size_t at = 0; at < records_.size(); ++at) {
    std::vector<Bytes> records(records_.begin(), records_.begin() + static_cast<long>(at) + 1);
    ASSERT_THAT(Resumed(records), IsOk());
    while (!records.back().empty()) {
      records.back().pop_back();
      ASSERT_THAT(Resumed(records), HasCode(absl::StatusCode::kDataLoss))
          << at << " " << records.back().size();
    }
  }
}

TEST_F(RecordsTest, AreRefusedWhenOneBitIsAnother) {
  for (size_t at = 0; at < records_.size(); ++at) {
    for (size_t byte = 0; byte < records_[at].size(); ++byte) {
      std::vector<Bytes> records(records_.begin(), records_.begin() + static_cast<long>(at) + 1);
      records[at][byte] ^= static_cast<uint8_t>(1 << byte % 8);
      ASSERT_THAT(Resumed(records), HasCode(absl::StatusCode::kDataLoss)) << at << " " << byte;
    }
  }
}

TEST_F(RecordsTest, AreRefusedWhenOneIsMissingTwiceOrOutOfOrder) {
  for (size_t at = 0; at + 1 < records_.size(); ++at) {
    std::vector<Bytes> missing = records_;
    missing.erase(missing.begin() + static_cast<long>(at));
    EXPECT_THAT(Resumed(missing), HasCode(absl::StatusCode::kDataLoss)) << at;
    std::vector<Bytes> swapped = records_;
    std::swap(swapped[at], swapped[at + 1]);
    EXPECT_THAT(Resumed(swapped), HasCode(absl::StatusCode::kDataLoss)) << at;
    std::vector<Bytes> twice = records_;
    twice.insert(twice.begin() + static_cast<long>(at), twice[at]);
    EXPECT_THAT(Resumed(twice), HasCode(absl::StatusCode::kDataLoss)) << at;
  }
}

TEST_F(RecordsTest, OfAnotherClientOrSessionAreRefused) {
  SecureRound next(SecureRoundOptions{});
  next.parameters().round += 1;
  for (const std::vector<Bytes>& foreign : {RecordsOf(round_, 3), RecordsOf(next, 2)}) {
    for (size_t at = 0; at < records_.size(); ++at) {
      std::vector<Bytes> mixed = records_;
      mixed[at] = foreign[at];
      EXPECT_THAT(Resumed(mixed), HasCode(absl::StatusCode::kDataLoss)) << at;
    }
    EXPECT_THAT(Resumed(foreign), HasCode(absl::StatusCode::kDataLoss));
  }
}

TEST_F(RecordsTest, DoNotGoWithAnotherSecretKeyOrModel) {
  ClientSession::Options options = round_.ClientOptions(2);
  options.round_secret = SecretOf(0x77);
  const std::vector<Bytes> first(records_.begin(), records_.begin() + 1);
  EXPECT_THAT(ClientSession::Resume(std::move(options), first),
              HasCode(absl::StatusCode::kDataLoss));
  options = round_.ClientOptions(2);
  options.federation_key = SecretOf(0x77);
  EXPECT_THAT(ClientSession::Resume(std::move(options), first),
              HasCode(absl::StatusCode::kDataLoss));
  options = round_.ClientOptions(2);
  options.model = Sha256Of("another");
  EXPECT_THAT(ClientSession::Resume(std::move(options), first),
              HasCode(absl::StatusCode::kDataLoss));
}

TEST_F(RecordsTest, RememberWhatWasAgreed) {
  PlaceSet fewer(4);
  for (const int place : {0, 1, 2}) fewer.Insert(place);
  for (const size_t agreed : {size_t{6}, size_t{7}}) {
    absl::StatusOr<ClientSession> session =
        ClientSession::Resume(round_.ClientOptions(2), std::span(records_).first(agreed));
    ASSERT_THAT(session, IsOk());
    EXPECT_TRUE(session->has_agreed());
    EXPECT_THAT(session->Receive(Encode(Survivors{fewer})),
                HasCode(absl::StatusCode::kFailedPrecondition));
    EXPECT_THAT(session->failure(), Not(IsOk()));
  }
}

}  // namespace
}  // namespace fedtune
