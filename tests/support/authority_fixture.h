// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <initializer_list>
#include <sstream>
#include <string>
#include <vector>

#include "ca/authority_program.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/support/fake_clock.h"
#include "tests/support/temporary_directory.h"

namespace fedtune::testing {

// A custodian with an authority, and St. Anna with a request.
class AuthorityFixture : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(Run({"init", "--federation", "north", "--dir", ca_}), 0);
    ASSERT_EQ(Run({"request", "--federation", "north", "--role", "client", "--name", "st-anna",
                   "--dir", keys_}),
              0);
  }

  int Run(std::initializer_list<std::string> words) { return RunWords(words); }

  int RunWords(const std::vector<std::string>& words) {
    std::vector<const char*> arguments = {"fedtune-ca"};
    for (const std::string& word : words) arguments.push_back(word.c_str());
    ::testing::internal::CaptureStdout();
    ::testing::internal::CaptureStderr();
    const int code =
        RunAuthorityProgram(static_cast<int>(arguments.size()), arguments.data(), clock_);
    result_ = ::testing::internal::GetCapturedStdout();
    advice_ = ::testing::internal::GetCapturedStderr();
    return code;
  }

  int IssueTo(const std::string& role, const std::string& name) {
    return Run({"issue", "--dir", ca_, "--request", keys_ + "/request.pem", "--role", role,
                "--name", name, "--out", certificate_});
  }

  std::vector<nlohmann::json> ResultLines() const {
    std::vector<nlohmann::json> lines;
    std::istringstream text(result_);
    for (std::string line; std::getline(text, line);) lines.push_back(nlohmann::json::parse(line));
    return lines;
  }

  FakeClock clock_;
  const TemporaryDirectory directory_;
  const std::string ca_ = directory_.path() / "ca";
  const std::string keys_ = directory_.path() / "keys";
  const std::string certificate_ = directory_.path() / "st-anna.crt";
  std::string result_;  // What the last command wrote to stdout.
  std::string advice_;  // And to stderr.
};

}  // namespace fedtune::testing
