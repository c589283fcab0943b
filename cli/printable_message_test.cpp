// SPDX-License-Identifier: Apache-2.0

#include "cli/printable_message.h"

#include <gtest/gtest.h>

#include "proto/fedtune/v1/administration.pb.h"

namespace fedtune {
namespace {

TEST(PrintableMessageTest, NoTextOfARunReachesTheTerminalAsAnEscapeSequence) {
  v1::GetRunResponse response;
  v1::RunStatus& run = *response.mutable_run();
  run.set_plan_name("\x1b[31mplan");
  run.set_adapter_sha256("\x1b\x9b");
  run.add_clients()->set_institution("uke");
  run.add_clients()->set_reason("full\n\x1b[2J");
  MakePrintable(run);
  EXPECT_EQ(run.plan_name(), "\\x1b[31mplan");
  EXPECT_EQ(run.adapter_sha256(), "\x1b\x9b");
  EXPECT_EQ(run.clients(0).institution(), "uke");
  EXPECT_EQ(run.clients(1).reason(), "full\\n\\x1b[2J");
}

TEST(PrintableMessageTest, ListsOfTextsAreMadePrintable) {
  v1::ClientStatus client;
  client.set_device_name("GPU\x07");
  client.add_run_ids("run-7f3a");
  client.add_run_ids("run\r");
  MakePrintable(client);
  EXPECT_EQ(client.device_name(), "GPU\\x07");
  EXPECT_EQ(client.run_ids(0), "run-7f3a");
  EXPECT_EQ(client.run_ids(1), "run\\r");
}

}  // namespace
}  // namespace fedtune
