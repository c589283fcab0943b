// SPDX-License-Identifier: Apache-2.0

#include "cli/log_file.h"

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include "base/exit_code.h"
#include "base/files.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "privacy/audit/log_entry.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace fedtune {
namespace {

using ::testing::ElementsAre;
using testing::HasCode;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::IsOk;

const SignedCheckpoint kCheckpoint = {.note = "fedtune.log/north\n2\nAAAA\n\n— ...\n",
                                      .certificate_pem = "-----BEGIN CERTIFICATE-----\n"};

// Comes in pieces of at most so many bytes.
LineReader::Source PiecesOf(std::string text, size_t most) {
  return [text = std::move(text), most, at = size_t{0}](std::span<char> room) mutable {
    const size_t size = std::min({most, room.size(), text.size() - at});
    std::copy_n(text.begin() + static_cast<ptrdiff_t>(at), size, room.begin());
    at += size;
    return absl::StatusOr<size_t>(size);
  };
}

std::vector<std::string> LinesOf(const std::string& text, size_t piece, absl::Status& status) {
  LineReader reader(PiecesOf(text, piece), 200'000);
  std::vector<std::string> lines;
  while (true) {
    const auto line = reader.Next();
    status = line.status();
    if (!line.ok() || !line->has_value()) return lines;
    lines.emplace_back(**line);
  }
}

TEST(LineReaderTest, GivesLinesOfWhateverLengthFromWhateverPieces) {
  const std::string long_line(150'000, 'x');
  for (const size_t piece : {1, 7, 65536, 1'000'000}) {
    absl::Status status;
    EXPECT_THAT(LinesOf("one\n\n" + long_line + "\nlast\n", piece, status),
                ElementsAre("one", "", long_line, "last"));
    EXPECT_THAT(status, IsOk());
  }
}

TEST(LineReaderTest, SaysWhereATextIsCutOffOrALineTooLong) {
  absl::Status status;
  EXPECT_THAT(LinesOf("one\ntw", 2, status), ElementsAre("one"));
  EXPECT_THAT(status, HasCode(absl::StatusCode::kDataLoss));
  EXPECT_THAT(LinesOf(std::string(200'001, 'x') + "\n", 1'000'000, status), IsEmpty());
  EXPECT_THAT(status, HasCode(absl::StatusCode::kDataLoss));
  EXPECT_THAT(LinesOf(std::string(300'000, 'x'), 4096, status), IsEmpty());
  EXPECT_THAT(std::string(status.message()), HasSubstr("it is longer than 200"));
  EXPECT_THAT(LinesOf("", 5, status), IsEmpty());
  EXPECT_THAT(status, IsOk());
}

TEST(LogFileTest, ReadsWhatIsWrittenAndSaysWhereItIs) {
  auto reader =
      LogFileReader::Read(PiecesOf(LogFileHeader(kCheckpoint) + "{1}\n{2}\n", 3), "north.log");
  ASSERT_THAT(reader, IsOk());
  EXPECT_EQ(reader->checkpoint(), kCheckpoint);
  EXPECT_EQ(**reader->Next(), "{1}");
  EXPECT_EQ(reader->place(), "north.log:2");
  EXPECT_EQ(**reader->Next(), "{2}");
  EXPECT_EQ(reader->place(), "north.log:3");
  EXPECT_EQ(*reader->Next(), std::nullopt);
}

TEST(LogFileTest, SaysInWhichLineAFileIsCutOff) {
  auto reader =
      LogFileReader::Read(PiecesOf(LogFileHeader(kCheckpoint) + "{1}\n{2", 99), "north.log");
  ASSERT_THAT(reader, IsOk());
  ASSERT_THAT(reader->Next(), IsOk());
  const auto cut = reader->Next();
  EXPECT_THAT(cut, HasCode(absl::StatusCode::kDataLoss));
  EXPECT_EQ(cut.status().message(), "north.log:3: the text ends within it");
}

TEST(LogFileTest, RefusesFilesThatDoNotBeginWithACheckpoint) {
  for (const char* text : {"", "\n", "{}\n", "[1]\n", "{\"note\": 1, \"certificate\": \"\"}\n",
                           "{\"note\": \"\"}\n", "2026-11-27T20:00:01.000Z info\n", "cut off"}) {
    const auto reader = LogFileReader::Read(PiecesOf(text, 99), "north.log");
    EXPECT_THAT(reader, HasCode(absl::StatusCode::kInvalidArgument)) << text;
    EXPECT_THAT(std::string(reader.status().message()),
                HasSubstr("north.log has no checkpoint of a log"));
  }
}

TEST(LogFileTest, OpensFilesAndSaysWhichAreNotThere) {
  const testing::TemporaryDirectory folder;
  const auto file = folder.path() / "north.log";
  EXPECT_EQ(ExitCodeFor(LogFileReader::Open(file).status()), 2);
  EXPECT_EQ(ExitCodeFor(LogFileReader::Open(folder.path()).status()), 2);
  ASSERT_THAT(WriteFileAtomically(file, LogFileHeader(kCheckpoint) + "{1}\n"), IsOk());
  auto reader = LogFileReader::Open(file);
  ASSERT_THAT(reader, IsOk());
  EXPECT_EQ(**reader->Next(), "{1}");
  EXPECT_EQ(*reader->Next(), std::nullopt);
}

TEST(SignedCheckpointTest, IsReadAsAnInstitutionsClientKeepsIt) {
  const auto kept = ParseSignedCheckpoint(
      "{\n \"certificate\": \"c\",\n \"note\": \"n\", \"at\": \"now\"}\n", "st-anna.json");
  ASSERT_THAT(kept, IsOk());
  EXPECT_EQ(*kept, (SignedCheckpoint{.note = "n", .certificate_pem = "c"}));
  EXPECT_THAT(ParseSignedCheckpoint("{\"note\": \"n\"", "st-anna.json"),
              HasCode(absl::StatusCode::kInvalidArgument));
}

}  // namespace
}  // namespace fedtune
