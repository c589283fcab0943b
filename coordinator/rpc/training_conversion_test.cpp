// SPDX-License-Identifier: Apache-2.0

#include "coordinator/rpc/training_conversion.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <limits>
#include <string>
#include <variant>

namespace fedtune {
namespace {

constexpr char kHostile[] = "full\n\x1b[2J";
constexpr char kHarmless[] = "full\\n\\x1b[2J";

TEST(TrainingConversionTest, ReasonsOfAClientMayBeShown) {
  v1::ClientMessage declined;
  declined.mutable_run_decision()->set_reason(kHostile);
  EXPECT_EQ(std::get<RunDeclined>(FromMessage(declined)->event).reason, kHarmless);

  v1::ClientMessage progress;
  progress.mutable_progress()->set_note(kHostile);
  EXPECT_EQ(std::get<ProgressReported>(FromMessage(progress)->event).note, kHarmless);

  v1::ClientMessage failed;
  failed.mutable_round_failure()->set_reason(kHostile);
  EXPECT_EQ(std::get<ClientFailed>(FromMessage(failed)->event).reason, kHarmless);
}

TEST(TrainingConversionTest, AClientMayDeclineBecauseItRefusesTheLog) {
  v1::ClientMessage declined;
  declined.mutable_run_decision()->set_reason("rank 64");
  EXPECT_FALSE(std::get<RunDeclined>(FromMessage(declined)->event).refuses_log);
  declined.mutable_run_decision()->set_refuses_log(true);
  EXPECT_TRUE(std::get<RunDeclined>(FromMessage(declined)->event).refuses_log);
}

v1::ContributionHeader Header() {
  v1::ContributionHeader header;
  for (std::string* digest :
       {header.mutable_adapter_sha256(), header.mutable_layout_sha256(), header.mutable_sha256()}) {
    digest->assign(32, 'd');
  }
  return header;
}

TEST(TrainingConversionTest, TheRunOfAContributionStaysShort) {
  v1::ContributionHeader header = Header();
  header.set_run_id(std::string(100'000, 'x'));
  EXPECT_EQ(FromMessage(header)->run.value.size(), 200);
}

TEST(TrainingConversionTest, RefusesAContributionToARoundThatNoRunHas) {
  v1::ContributionHeader header = Header();
  for (const int64_t round : {int64_t{-1}, std::numeric_limits<int64_t>::max()}) {
    header.set_round(round);
    EXPECT_TRUE(absl::IsInvalidArgument(FromMessage(header).status()));
  }
}

TEST(TrainingConversionTest, RefusesWhatAClientSaysOfARoundThatNoRunHas) {
  for (const int64_t round : {int64_t{-1}, std::numeric_limits<int64_t>::max()}) {
    v1::ClientMessage failed;
    failed.mutable_round_failure()->set_round(round);
    v1::ClientMessage progress;
    progress.mutable_progress()->set_round(round);
    v1::ClientMessage secure;
    secure.mutable_secure_aggregation()->set_round(round);
    for (const v1::ClientMessage& message : {failed, progress, secure}) {
      EXPECT_TRUE(absl::IsInvalidArgument(FromMessage(message).status()));
    }
  }
}

TEST(TrainingConversionTest, WhatAClientSaysOfItsDeviceMayBeShown) {
  v1::Hello hello;
  hello.set_client_version(kHostile);
  hello.mutable_device()->set_kind(kHostile);
  hello.mutable_device()->set_name(kHostile);
  const ClientRecord client = FromMessage(hello);
  EXPECT_EQ(client.version, kHarmless);
  EXPECT_EQ(client.device_kind, kHarmless);
  EXPECT_EQ(client.device_name, kHarmless);
}

TEST(TrainingConversionTest, WhatAClientSaysOfItsDeviceStaysShortWhenItIsEscaped) {
  v1::Hello hello;
  hello.set_client_version(std::string(1000, '\x1b'));
  EXPECT_EQ(FromMessage(hello).version.size(), 200);
}

}  // namespace
}  // namespace fedtune
