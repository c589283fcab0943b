// SPDX-License-Identifier: Apache-2.0

#include "base/waiting_note.h"

#include <array>
#include <optional>

#include "absl/time/clock.h"
#include "gtest/gtest.h"

namespace fedtune {
namespace {

// Notes that go to a pipe.
class WaitingNoteTest : public ::testing::Test {
 protected:
  WaitingNoteTest() : stream_(std::tmpfile()) {}
  ~WaitingNoteTest() override { std::fclose(stream_); }

  std::string Written() {
    std::array<char, 100> text{};
    std::rewind(stream_);
    return {text.data(), std::fread(text.data(), 1, text.size(), stream_)};
  }

  std::FILE* const stream_;
};

TEST_F(WaitingNoteTest, IsSilentWhereNothingTakesLong) {
  std::optional<WaitingNote> note(std::in_place, "waiting", absl::Hours(1), stream_);
  note.reset();
  EXPECT_EQ(Written(), "");
}

TEST_F(WaitingNoteTest, SaysOnceWhatIsWaitedFor) {
  std::optional<WaitingNote> note(std::in_place, "waiting", absl::Milliseconds(1), stream_);
  // A note that never comes lets the expectation fail.
  for (int i = 0; i < 1000 && std::ftell(stream_) == 0; ++i) absl::SleepFor(absl::Milliseconds(10));
  note.reset();
  EXPECT_EQ(Written(), "waiting\n");
}

}  // namespace
}  // namespace fedtune
