// SPDX-License-Identifier: Apache-2.0

#include "coordinator/rpc/invitation_message.h"

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "coordinator/rpc/training_conversion.h"
#include "gtest/gtest.h"
#include "rpc/chunks.h"

namespace fedtune {
namespace {

const RunId kRun{"run-1"};

RunInvitation Invitation(std::string signing_roster) {
  return {std::make_shared<const RunTexts>(RunTexts{.plan_toml = "name = 'a'",
                                                    .layout_json = std::string(3'000'000, '['),
                                                    .base_digest = "sha256:77ab",
                                                    .signing_roster = std::move(signing_roster)})};
}

TEST(InvitationMessageTest, SaysWhatTheMessageSays) {
  for (const char* roster : {"", "the roster"}) {
    const RunInvitation invitation = Invitation(roster);
    grpc::ByteBuffer bytes = InvitationMessage(kRun, invitation);
    const auto read = ParseMessage<v1::CoordinatorMessage>(bytes);
    ASSERT_TRUE(read.ok());
    EXPECT_EQ(read->SerializeAsString(), ToMessage({kRun, invitation}).SerializeAsString());
  }
}

TEST(InvitationMessageTest, LeavesTheTextsWhereTheyAre) {
  const RunInvitation invitation = Invitation("");
  {
    const grpc::ByteBuffer bytes = InvitationMessage(kRun, invitation);
    EXPECT_GT(invitation.texts.use_count(), 1) << "they are kept";
    std::vector<grpc::Slice> slices;
    ASSERT_TRUE(bytes.Dump(&slices).ok());
    const auto* layout = reinterpret_cast<const uint8_t*>(invitation.texts->layout_json.data());
    EXPECT_TRUE(std::any_of(slices.begin(), slices.end(),
                            [&](const grpc::Slice& slice) { return slice.begin() == layout; }));
  }
  EXPECT_EQ(invitation.texts.use_count(), 1) << "and let go of";
}

}  // namespace
}  // namespace fedtune
