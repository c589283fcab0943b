// SPDX-License-Identifier: Apache-2.0

#include "coordinator/rounds/round_journal.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace fedtune {
namespace {

using testing::HasCode;
using testing::IsOk;

constexpr auto kDataLoss = absl::StatusCode::kDataLoss;

const Institution kUke{"uke"};

std::vector<JournalEntry> OneOfEachKind() {
  const ContributionHeader header{
      .round = 3,
      .attempt = 2,
      .adapter = Sha256Of("adapter"),
      .layout = Sha256Of("layout"),
      .factors = 2,
      .size_bytes = 4096,
      .sha256 = Sha256Of("values"),
      .metrics = {.training_loss = 0.25,
                  .steps = 8,
                  .token_count = 900,
                  .routed_tokens = {900, 0, 450, 450},
                  .training_seconds = 1.5,
                  .before = {{.loss = 2, .accuracy = 0.5, .example_count = 7}},
                  .after = {{.loss = 1, .accuracy = std::nullopt, .example_count = 7}}},
      .input_manifest = {5, 1}};
  const auto from_uke = [](ClientEvent event) {
    return ReceivedFromClient{kUke, std::move(event)};
  };
  return {
      {absl::ZeroDuration(),
       AttemptOpened{
           .round = 3,
           .attempt = 2,
           .tries = 2,
           .burnt_in_a_row = 1,
           .members = {{.institution = kUke,
                        .connected = true,
                        .accepted = true,
                        .example_count = 40,
                        .in_cohort = true,
                        .work = OpenWork{.round = 1,
                                         .attempt = 2,
                                         .adapter = Sha256Of("older"),
                                         .evaluate = true}},
                       {.institution = {"helios"}, .declined = true, .reason = "not this model"}},
           .at = absl::FromUnixMillis(1'700'000'000'123),
           .roster = Sha256Of("roster")}},
      {absl::Seconds(1), from_uke(ClientConnected{})},
      {absl::Seconds(1), from_uke(ClientDisconnected{})},
      {absl::Seconds(2), from_uke(RunAccepted{40})},
      {absl::Seconds(2), from_uke(RunDeclined{"no"})},
      {absl::Seconds(3), from_uke(ContributionTaken{header}), "run-1.0123456789abcdef"},
      {.at = absl::Seconds(3),
       .what = from_uke(ContributionTaken{header}),
       .spool_file = "run-1.0123456789abcdef",
       .content = SpooledContent{.range = {1024, -0.5F, 7}, .sums = {1, uint64_t{1} << 63}}},
      {absl::Seconds(4), from_uke(ClientFailed{3, 2, "out of memory", 4})},
      {absl::Seconds(5), from_uke(SecureMessageReceived{3, 2, {1, 2, 3}})},
      {absl::Seconds(6), RunEvent(ReleaseFailed{"lost"})},
      {absl::Seconds(6), RunEvent(ReleaseFailed{"no sum", true})},
      {absl::Seconds(7), RunEvent(StopRequested{"wrong data"})},
      {absl::Hours(6) + absl::Nanoseconds(7), TimeIsUp{}},
      {absl::Hours(7), NewProcess{}},
      {absl::Hours(7), RunEvent(ContributionsLost{{{"charite"}, {"uke"}}})},
      {absl::ZeroDuration(),
       BetweenRounds{{{kUke, {.times = 2, .back_in_round = 9, .why = "round 5 burnt"}}}}},
  };
}

TEST(RoundJournalTest, ReadsBackEveryKindOfEntry) {
  for (const JournalEntry& entry : OneOfEachKind()) {
    SCOPED_TRACE(entry.what.index());
    const std::string bytes = ToBytes(entry);
    const auto read = JournalEntryFromBytes(bytes);
    ASSERT_THAT(read, IsOk()) << read.status();
    EXPECT_EQ(read->at, entry.at);
    EXPECT_EQ(read->spool_file, entry.spool_file);
    EXPECT_EQ(read->what.index(), entry.what.index());
    EXPECT_EQ(ToBytes(*read), bytes);
  }
}

TEST(RoundJournalTest, KeepsAllThatAnOpeningSays) {
  const JournalEntry entry = OneOfEachKind().front();
  EXPECT_EQ(std::get<AttemptOpened>(JournalEntryFromBytes(ToBytes(entry))->what),
            std::get<AttemptOpened>(entry.what));
}

TEST(RoundJournalTest, KeepsWhoIsToBlame) {
  JournalEntry entry = OneOfEachKind().front();
  auto& opened = std::get<AttemptOpened>(entry.what);
  opened.members[1].blame = Blame{.times = 3, .back_in_round = 9, .why = "round 5 burnt"};
  EXPECT_EQ(std::get<AttemptOpened>(JournalEntryFromBytes(ToBytes(entry))->what), opened);
}

TEST(RoundJournalTest, KeepsWhoRefusesTheLog) {
  JournalEntry entry = OneOfEachKind().front();
  auto& opened = std::get<AttemptOpened>(entry.what);
  opened.members[0].refuses_log = true;
  EXPECT_EQ(ToBytes(entry)[0], 6);
  EXPECT_EQ(std::get<AttemptOpened>(JournalEntryFromBytes(ToBytes(entry))->what), opened);
  for (const bool refuses : {false, true}) {
    const std::string bytes =
        ToBytes({absl::Seconds(6), ReceivedFromClient{kUke, RunDeclined{"rolled back", refuses}}});
    EXPECT_EQ(bytes[0], refuses ? 6 : 3);
    const auto read = JournalEntryFromBytes(bytes);
    const auto& declined = std::get<RunDeclined>(std::get<ReceivedFromClient>(read->what).event);
    EXPECT_EQ(declined.refuses_log, refuses);
    EXPECT_EQ(declined.reason, "rolled back");
  }
}

TEST(RoundJournalTest, KeepsWhoIsToBlameBetweenRounds) {
  const JournalEntry entry = OneOfEachKind().back();
  EXPECT_EQ(std::get<BetweenRounds>(JournalEntryFromBytes(ToBytes(entry))->what).blamed,
            std::get<BetweenRounds>(entry.what).blamed);
}

JournalEntry WithLateWork() {
  return {
      absl::ZeroDuration(),
      BetweenRounds{.blamed = {{kUke, {.times = 2, .back_in_round = 9, .why = "round 5 burnt"}}},
                    .work = {{{"helios"}, {3, 2, Sha256Of("adapter 3"), true}},
                             {{"charite"}, {4, 1, Sha256Of("adapter 4")}}},
                    .burnt_in_a_row = 1}};
}

TEST(RoundJournalTest, KeepsWhatIsLateAndHowManyRoundsHaveBurntBetweenRounds) {
  const JournalEntry entry = WithLateWork();
  const auto read = JournalEntryFromBytes(ToBytes(entry));
  ASSERT_THAT(read, IsOk()) << read.status();
  EXPECT_EQ(std::get<BetweenRounds>(read->what), std::get<BetweenRounds>(entry.what));
}

TEST(RoundJournalTest, AnOlderProgramReadsAnOpeningWithNobodyToBlame) {
  EXPECT_EQ(ToBytes(OneOfEachKind().front())[0], 3);
}

TEST(RoundJournalTest, EntriesThatItCannotKnowAreOfALaterVersion) {
  EXPECT_EQ(ToBytes(OneOfEachKind().back())[0], 4);
  EXPECT_EQ(ToBytes(WithLateWork())[0], 5);
  EXPECT_EQ(ToBytes({absl::Seconds(6), RunEvent(ReleaseFailed{"no sum", true})})[0], 4);
  EXPECT_EQ(ToBytes({absl::Seconds(6), RunEvent(ReleaseFailed{"no sum", false})})[0], 3);
}

TEST(RoundJournalTest, KeepsWhetherASumWasImpossible) {
  for (const bool impossible : {false, true}) {
    const auto read = JournalEntryFromBytes(
        ToBytes({absl::Seconds(6), RunEvent(ReleaseFailed{"no sum", impossible})}));
    const auto& failed = std::get<ReleaseFailed>(std::get<RunEvent>(read->what));
    EXPECT_EQ(failed.is_impossible_sum, impossible);
    EXPECT_EQ(failed.reason, "no sum");
  }
}

TEST(RoundJournalTest, KeepsWhatIsKnownOfAFileInTheSpool) {
  const auto content = JournalEntryFromBytes(ToBytes(OneOfEachKind()[6]))->content;
  ASSERT_TRUE(content.has_value());
  EXPECT_EQ(content->range.count(), 1024);
  EXPECT_EQ(content->range.extreme(), -0.5F);
  EXPECT_EQ(content->range.extreme_index(), 7);
  EXPECT_EQ(content->sums, (std::vector<uint64_t>{1, uint64_t{1} << 63}));
}

TEST(RoundJournalTest, KeepsAllThatAContributionSays) {
  const JournalEntry entry = OneOfEachKind()[5];
  const auto header = [](const JournalEntry& e) {
    return std::get<ContributionTaken>(std::get<ReceivedFromClient>(e.what).event).header;
  };
  const ContributionHeader read = header(*JournalEntryFromBytes(ToBytes(entry)));
  EXPECT_EQ(read.sha256, header(entry).sha256);
  EXPECT_EQ(read.metrics, header(entry).metrics);
  EXPECT_EQ(read.input_manifest, header(entry).input_manifest);
  EXPECT_EQ(read.size_bytes, 4096u);
}

TEST(RoundJournalTest, RefusesWhatIsCutOffOrTooLong) {
  for (const JournalEntry& entry : OneOfEachKind()) {
    const std::string bytes = ToBytes(entry);
    for (size_t size = 0; size < bytes.size(); ++size) {
      EXPECT_THAT(JournalEntryFromBytes(bytes.substr(0, size)), HasCode(kDataLoss));
    }
    EXPECT_THAT(JournalEntryFromBytes(bytes + "x"), HasCode(kDataLoss));
  }
}

TEST(RoundJournalTest, RefusesAnyBitThatIsAnother) {
  for (const JournalEntry& entry : OneOfEachKind()) {
    std::string bytes = ToBytes(entry);
    for (size_t bit = 0; bit < 8 * bytes.size(); ++bit) {
      const char whole = bytes[bit / 8];
      bytes[bit / 8] = static_cast<char>(whole ^ (1 << bit % 8));
      EXPECT_THAT(JournalEntryFromBytes(bytes), HasCode(kDataLoss));
      bytes[bit / 8] = whole;
    }
  }
}

// With a right digest at its end.
std::string Signed(std::string body) {
  const Digest digest = Sha256Of(body);
  return body.append(digest.bytes.begin(), digest.bytes.end());
}

class DoctoredEntryTest : public ::testing::Test {
 protected:
  DoctoredEntryTest() { body_.resize(body_.size() - sizeof(Digest::bytes)); }

  std::string body_ = ToBytes({.at = absl::ZeroDuration(), .what = TimeIsUp{}});
};

TEST_F(DoctoredEntryTest, IsTakenUnchanged) {
  EXPECT_THAT(JournalEntryFromBytes(Signed(body_)), IsOk());
}

TEST_F(DoctoredEntryTest, RefusesAnotherVersion) {
  body_[0] = 7;
  EXPECT_THAT(JournalEntryFromBytes(Signed(body_)), HasCode(kDataLoss));
}

TEST_F(DoctoredEntryTest, RefusesAnUnknownKind) {
  body_.back() = 99;
  EXPECT_THAT(JournalEntryFromBytes(Signed(body_)), HasCode(kDataLoss));
}

TEST_F(DoctoredEntryTest, RefusesBytesBehindItsEnd) {
  EXPECT_THAT(JournalEntryFromBytes(Signed(body_ + "x")), HasCode(kDataLoss));
}

TEST_F(DoctoredEntryTest, RefusesATimeBeforeTheOpening) {
  EXPECT_THAT(JournalEntryFromBytes(ToBytes({absl::Seconds(-1), TimeIsUp{}})), HasCode(kDataLoss));
}

// Behind version, number, time and the name of no file.
constexpr size_t kContentAt = 1 + 8 + 8 + 4;

TEST(RoundJournalTest, ReadsWhatTheVersionsBeforeHaveWritten) {
  const AttemptOpened opened{.round = 3, .members = {{.institution = kUke, .in_cohort = true}}};
  std::string body = ToBytes({.at = absl::ZeroDuration(), .what = opened});
  body.resize(body.size() - sizeof(Digest::bytes));
  body.erase(kContentAt, 1);  // That nothing is known of a file in the spool.
  // First without the signing roster, then without the member's older work.
  for (const char version : {2, 1}) {
    SCOPED_TRACE(static_cast<int>(version));
    body[0] = version;
    body.pop_back();
    const auto read = JournalEntryFromBytes(Signed(body));
    ASSERT_THAT(read, IsOk()) << read.status();
    EXPECT_EQ(std::get<AttemptOpened>(read->what), opened);
  }
}

TEST(RoundJournalTest, LeavesProgressOut) {
  EXPECT_FALSE(IsJournalled(ProgressReported{}));
  EXPECT_TRUE(IsJournalled(ClientDisconnected{}));
}

}  // namespace
}  // namespace fedtune
