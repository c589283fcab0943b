// SPDX-License-Identifier: Apache-2.0

#include "coordinator/rpc/certified_streams.h"

#include <memory>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace fedtune {
namespace {

using ::testing::IsEmpty;

const Identity kAda = {.federation = "north", .role = Role::kClient, .name = "ada"};
const Identity kBob = {.federation = "north", .role = Role::kClient, .name = "bob"};

class Stream final : public StandingStream {
 public:
  void Close(absl::Status) override { ++closed; }
  void Abandon(absl::Status) override { ++abandoned; }

  int closed = 0;
  int abandoned = 0;
};

absl::Status RefuseFirst(const std::string& serial, const Identity&) {
  return serial == "01" ? absl::UnauthenticatedError("revoked") : absl::OkStatus();
}

TEST(CertifiedStreamsTest, ClosesThoseOfTheRefusedCertificateAndNoOthers) {
  CertifiedStreams streams;
  const auto first = std::make_shared<Stream>();
  const auto renewed = std::make_shared<Stream>();
  const auto other = std::make_shared<Stream>();
  streams.Add("01", kAda, first);
  streams.Add("02", kAda, renewed);
  streams.Add("03", kBob, other);
  EXPECT_EQ(streams.EndRefused(RefuseFirst).closed, (std::map<Identity, int>{{kAda, 1}}));
  EXPECT_EQ(first->closed, 1);
  EXPECT_EQ(renewed->closed, 0);
  EXPECT_EQ(other->closed, 0);
}

TEST(CertifiedStreamsTest, AbandonsWhatIsStillThereTheNextTime) {
  CertifiedStreams streams;
  const auto stuck = std::make_shared<Stream>();
  auto gone = std::make_shared<Stream>();
  streams.Add("01", kAda, stuck);
  streams.Add("01", kAda, gone);
  EXPECT_EQ(streams.EndRefused(RefuseFirst).closed, (std::map<Identity, int>{{kAda, 2}}));
  EXPECT_EQ(stuck->abandoned, 0);
  gone.reset();
  const auto again = streams.EndRefused(RefuseFirst);
  EXPECT_THAT(again.closed, IsEmpty());
  EXPECT_EQ(again.abandoned, (std::map<Identity, int>{{kAda, 1}}));
  EXPECT_THAT(streams.EndRefused(RefuseFirst).abandoned, IsEmpty()) << "nothing is said twice";
  EXPECT_EQ(stuck->closed, 1);
  EXPECT_EQ(stuck->abandoned, 2);
}

TEST(CertifiedStreamsTest, KeepsThoseThatAreThereAmongManyThatHaveEnded) {
  CertifiedStreams streams;
  const auto first = std::make_shared<Stream>();
  streams.Add("01", kAda, first);
  for (int i = 0; i < 1'000; ++i) streams.Add("02", kBob, std::make_shared<Stream>());
  EXPECT_EQ(streams.EndRefused(RefuseFirst).closed, (std::map<Identity, int>{{kAda, 1}}));
}

}  // namespace
}  // namespace fedtune
