// SPDX-License-Identifier: Apache-2.0

#include "client/round/local_names.h"

#include "gtest/gtest.h"

namespace fedtune {
namespace {

class LocalNamesTest : public ::testing::Test {
 protected:
  const LocalNames names_{{{"/srv/fedtune", "state"},
                           {"/srv/fedtune/models/lite", "base model"},
                           {"/data/our letters/train.jsonl", "data set letters"},
                           {"conf/../policy.toml", "policy"},
                           {"", "nothing"}}};
};

TEST_F(LocalNamesTest, AFileOfAFolderKeepsItsPlaceInIt) {
  EXPECT_EQ(names_.Hide("cannot open /srv/fedtune/models/lite/config.json: No such file"),
            "cannot open <base model>/config.json: No such file");
}

TEST_F(LocalNamesTest, APathWithASpaceIsOnePath) {
  EXPECT_EQ(names_.Hide("/data/our letters/train.jsonl:381: not JSON"),
            "<data set letters>:381: not JSON");
}

TEST_F(LocalNamesTest, TheLongestPathNamesIt) {
  EXPECT_EQ(names_.Hide("(/srv/fedtune/rounds/a; /srv/fedtune)"), "(<state>/rounds/a; <state>)");
}

TEST_F(LocalNamesTest, ARelativePathHasAName) {
  EXPECT_EQ(names_.Hide("conf/../policy.toml:3: unknown key"), "<policy>:3: unknown key");
}

TEST_F(LocalNamesTest, APathWithoutANameIsHiddenAltogether) {
  EXPECT_EQ(names_.Hide("cannot map /home/ada/secret.bin: Permission denied"),
            "cannot map <path>: Permission denied");
  EXPECT_EQ(names_.Hide("see \"/etc/fedtune/x\""), "see \"<path>\"");
  EXPECT_EQ(names_.Hide("/srv/fedtune2/x"), "<path>");
}

TEST_F(LocalNamesTest, WhatIsNoPathStays) {
  for (const char* text : {"", "64 of 128 tokens", "tokens/s", "round 3/12", "a / b", "/",
                           "needs 24.0 GB, 16.0 GB are there; use smaller batches"}) {
    EXPECT_EQ(names_.Hide(text), text);
  }
}

TEST(NoLocalNamesTest, PathsFromTheRootAreHiddenAllTheSame) {
  EXPECT_EQ(LocalNames().Hide("cannot open /models/lite/config.json"), "cannot open <path>");
}

}  // namespace
}  // namespace fedtune
