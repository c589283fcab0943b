// SPDX-License-Identifier: Apache-2.0

#include "coordinator/storage/spool_pack.h"

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace fedtune {
namespace {

using testing::HasCode;
using testing::IsOk;
using ::testing::SizeIs;
using Place = std::unique_ptr<SpoolPack::Place>;

class SpoolPackTest : public ::testing::Test {
 protected:
  Place Written(std::string_view text) {
    Place place = *pack_.NewPlace(text.size());
    EXPECT_THAT(place->Write(0, std::as_bytes(std::span(text))), IsOk());
    return place;
  }
  Place Kept(std::string_view text) {
    Place place = Written(text);
    SpoolPack::Place* const one = place.get();
    EXPECT_THAT(pack_.Keep({&one, 1}), IsOk());
    return place;
  }
  static std::string In(const SpoolPack::Place& place, size_t size) {
    std::string there(size, '?');
    EXPECT_THAT(place.Read(0, std::as_writable_bytes(std::span(there))), IsOk());
    return there;
  }
  std::string Found(const std::string& name, size_t size) const {
    const auto file = spool_.Find(name, size);
    EXPECT_THAT(file, IsOk());
    std::string there(size, '?');
    EXPECT_THAT(file->Read(0, std::as_writable_bytes(std::span(there))), IsOk());
    return there;
  }
  std::vector<std::string> Files() const {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(directory_.path() / "spool")) {
      names.push_back(entry.path().filename().string());
    }
    return names;
  }

  const testing::TemporaryDirectory directory_;
  const Spool spool_ = *Spool::Open(directory_.path() / "spool");
  SpoolPack pack_{spool_, "run-1"};
};

TEST_F(SpoolPackTest, WhatIsWrittenIsReadBeforeItIsKept) {
  const Place values = Written("values");
  const Place more = Written("more values");
  EXPECT_EQ(In(*values, 6), "values");
  EXPECT_EQ(In(*more, 11), "more values");
}

TEST_F(SpoolPackTest, ThingsThatAreKeptTogetherAreFoundEachByItsName) {
  const Place values = Written("values");
  const Place more = Written("more values");
  const std::vector<SpoolPack::Place*> both = {values.get(), more.get()};
  ASSERT_THAT(pack_.Keep(both), IsOk());
  EXPECT_EQ(Found(values->name(), 6), "values");
  EXPECT_EQ(Found(more->name(), 11), "more values");
  EXPECT_THAT(spool_.Find(more->name(), 12), HasCode(absl::StatusCode::kDataLoss));
  EXPECT_THAT(spool_.Find(more->name() + "x", 11), HasCode(absl::StatusCode::kNotFound));
}

TEST_F(SpoolPackTest, EvenNothingHasAPlaceOfItsOwn) {
  const Place nothing = Kept("");
  const Place values = Kept("values");
  EXPECT_NE(nothing->name(), values->name());
  EXPECT_THAT(spool_.Find(nothing->name(), 0), IsOk());
}

TEST_F(SpoolPackTest, WhatIsKeptOutlivesItsPlace) {
  const std::string name = Kept("values")->name();
  const Place other = Kept("others");
  EXPECT_NE(other->name(), name);
  EXPECT_EQ(Found(name, 6), "values");
}

TEST_F(SpoolPackTest, TheSpaceOfWhatWasNeverKeptIsWrittenAgain) {
  const std::string name = Written("values")->name();
  EXPECT_EQ(Written("others")->name(), name);
}

TEST_F(SpoolPackTest, TheSpaceOfWhatWasKeptAndIsNotWantedAfterAllIsWrittenAgain) {
  Place values = Kept("values");
  SpoolPack::Place* const one = values.get();
  SpoolPack::Unkeep({&one, 1});
  const std::string name = values->name();
  EXPECT_NE(Written("others")->name(), name) << "it is still there";
  values.reset();
  EXPECT_EQ(Written("others")->name(), name);
}

TEST_F(SpoolPackTest, APlaceGoesWhereItFits) {
  const std::string wide(200'000, 'w');
  const std::string narrow(100'000, 'n');
  Place first = Written(narrow);
  const Place behind = Written(narrow);
  const std::string name = first->name();
  first.reset();
  const Place other = Written(wide);
  EXPECT_NE(other->name(), name);
  EXPECT_EQ(Written(narrow)->name(), name);
  EXPECT_EQ(In(*behind, narrow.size()), narrow);
  EXPECT_EQ(In(*other, wide.size()), wide);
}

TEST_F(SpoolPackTest, SpaceIsWrittenAgainOnceThePackIsClearedAndNobodyReadsIt) {
  Place read = Kept("values");
  const std::string name = read->name();
  pack_.Clear()();
  EXPECT_NE(Written("others")->name(), name);
  EXPECT_EQ(In(*read, 6), "values");
  read.reset();
  EXPECT_EQ(Written("others")->name(), name);
}

TEST_F(SpoolPackTest, WhatIsUnderWayIsKeptAfterThePackWasCleared) {
  const Place values = Written("values");
  pack_.Clear()();
  SpoolPack::Place* const one = values.get();
  ASSERT_THAT(pack_.Keep({&one, 1}), IsOk());
  EXPECT_EQ(Found(values->name(), 6), "values");
}

TEST_F(SpoolPackTest, ClearingItSetsAsideTheOtherFilesOfTheRun) {
  const Place values = Kept("values");
  auto other = *spool_.Create("run-1", 0);
  ASSERT_THAT(other.Keep(), IsOk());
  pack_.Clear()();
  EXPECT_THAT(spool_.Find(other.name(), 0), HasCode(absl::StatusCode::kNotFound));
  EXPECT_THAT(Files(), SizeIs(1));
}

TEST_F(SpoolPackTest, ThingsAreReadWhereTheyLieAfterItIsClosed) {
  const Place values = Kept("values");
  pack_.Close();
  spool_.Remove("run-1");
  EXPECT_EQ(In(*values, 6), "values");
}

TEST_F(SpoolPackTest, NothingComesAfterItIsClosed) {
  Kept("values");
  pack_.Close();
  spool_.Remove("run-1");
  EXPECT_THAT(pack_.NewPlace(6), HasCode(absl::StatusCode::kFailedPrecondition));
  EXPECT_THAT(Files(), SizeIs(0));
}

TEST_F(SpoolPackTest, AFileInWhichNothingWasKeptGoesWithItsLastPlace) {
  Place values = Written("values");
  pack_.Close();
  EXPECT_THAT(Files(), SizeIs(1));
  values.reset();
  EXPECT_THAT(Files(), SizeIs(0));
}

// A sync that has failed may have lost it.
TEST_F(SpoolPackTest, WhatWasWrittenBeforeAFileWasGivenUpIsNotKept) {
  const Place values = Written("values");
  pack_.GiveUpFile();
  const Place again = Written("values");
  EXPECT_FALSE(pack_.CanKeep(*values));
  ASSERT_TRUE(pack_.CanKeep(*again));
  SpoolPack::Place* const one = again.get();
  EXPECT_THAT(pack_.Keep({&one, 1}), IsOk());
}

TEST_F(SpoolPackTest, ThingsThatAreFoundTogetherShareTheirFile) {
  const Place values = Kept("values");
  const Place more = Kept("more values");
  Spool::OpenFiles open;
  const auto found_more = spool_.FindTogether(more->name(), 11, open);
  const auto found_values = spool_.FindTogether(values->name(), 6, open);
  ASSERT_THAT(found_more, IsOk());
  ASSERT_THAT(found_values, IsOk());
  EXPECT_THAT(open, SizeIs(1));
  EXPECT_EQ(found_more->file, found_values->file);
  std::string there(11, '?');
  ASSERT_THAT(found_more->file->Read(found_more->begin, std::as_writable_bytes(std::span(there))),
              IsOk());
  EXPECT_EQ(there, "more values");
  EXPECT_THAT(spool_.FindTogether(more->name(), 12, open), HasCode(absl::StatusCode::kDataLoss));
}

TEST_F(SpoolPackTest, ItsFileStaysAsLongAsOneThingInItIsWanted) {
  const Place values = Kept("values");
  const Place wanted = Kept("more values");
  spool_.Remove("run-1", {wanted->name()});
  EXPECT_EQ(Found(wanted->name(), 11), "more values");
  spool_.Remove("run-1");
  EXPECT_THAT(spool_.Find(wanted->name(), 11), HasCode(absl::StatusCode::kNotFound));
}

}  // namespace
}  // namespace fedtune
