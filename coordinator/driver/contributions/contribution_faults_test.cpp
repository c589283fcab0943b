// SPDX-License-Identifier: Apache-2.0

// A large contribution, on a disk that fails at each call in turn: what was kept is
// there, to the bit, and what was not is sent again.

#include <sys/stat.h>

#include <cerrno>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "aggregation/adapter_bytes.h"
#include "base/files.h"
#include "coordinator/driver/contributions/contribution_buffer.h"
#include "fmt/format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/lossy_disk.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace fedtune {
namespace {

using ::testing::AnyOf;
using testing::HasCode;
using testing::IsOk;
using testing::LossyDisk;

constexpr size_t kValues = (size_t{5} << 20) / sizeof(float);  // Too many for memory.
constexpr size_t kChunk = size_t{1} << 20;
constexpr uint64_t kMiB = uint64_t{1} << 20;
const RunId kRun{"run-0001"};

// Of the calls that fail in turn; a sanitizer sees the same code in a third of them.
#ifdef FEDTUNE_UNDER_SANITIZER
constexpr int64_t kStride = 3;
#else
constexpr int64_t kStride = 1;
#endif

class ContributionFaultsTest : public ::testing::Test {
 protected:
  ContributionFaultsTest() : values_(kValues) {
    for (size_t i = 0; i < kValues; ++i) values_[i] = static_cast<float>(i % 1000) - 500;
    header_.size_bytes = ValueBytes(values_).size();
    header_.sha256 = Sha256Of(ValueBytes(values_));
    EXPECT_THAT(HandIn(), IsOk());
    operations_ = disk_.operations();
    EXPECT_GT(operations_, 40);
    Clear();
  }

  void Clear() {
    spool_.Remove(kRun.value);
    EXPECT_THAT(SyncDirectory(directory_.path() / "spool"), IsOk());
    disk_.Heal();
  }

  // As a client whose call may be cut off: the name of what is kept.
  absl::StatusOr<std::string> HandIn() {
    absl::StatusOr<SpooledBytes> bytes =
        SpooledBytes::CreateOrGoOn(pack_, "0-1-ada", header_.sha256, header_.size_bytes);
    if (!bytes.ok()) return bytes.status();
    auto buffer = ContributionBuffer::Create(header_, *std::move(bytes));
    if (!buffer.ok()) return buffer.status();
    begin_ = buffer->received();
    const std::string_view all = ValueBytes(values_);
    while (!buffer->complete()) {
      const absl::Status taken =
          buffer->Append(buffer->received(), all.substr(buffer->received(), kChunk));
      if (!taken.ok()) return taken;
    }
    auto verified = (*std::move(buffer)).Finish();
    if (!verified.ok()) return verified.status();
    const absl::Status kept = verified->values->bytes().Keep();
    if (!kept.ok()) return kept;
    return verified->values->bytes().name();
  }

  // Again, until it is kept: what an earlier call has left may be damaged, once.
  std::string HandInAgain() {
    absl::StatusOr<std::string> name = HandIn();
    if (!name.ok()) {
      EXPECT_THAT(name, HasCode(absl::StatusCode::kAborted));
      name = HandIn();
    }
    EXPECT_THAT(name, IsOk());
    return name.ok() ? *name : "";
  }

  absl::StatusOr<VerifiedValues> Restored(const std::string& name) const {
    Spool::OpenFiles open;
    return ContributionBuffer::Restore(header_, spool_, name, std::nullopt, open);
  }

  void ExpectThere(const std::string& name) const {
    const auto restored = Restored(name);
    ASSERT_THAT(restored, IsOk());
    std::vector<float> values(kValues);
    ASSERT_THAT(restored->values->Read(0, values), IsOk());
    EXPECT_EQ(values, values_);
  }

  const testing::TemporaryDirectory directory_;
  const Spool spool_ = *Spool::Open(directory_.path() / "spool");
  SpoolPack pack_{spool_, kRun.value};
  LossyDisk disk_{directory_.path() / "spool"};
  std::vector<float> values_;
  ContributionHeader header_;
  int64_t operations_ = 0;
  uint64_t begin_ = 0;  // Where the last call went on.
};

TEST_F(ContributionFaultsTest, WhatIsKeptSurvivesAPowerCutAndTheRestIsSentAgain) {
  for (int64_t k = 0; k <= operations_; k += kStride) {
    SCOPED_TRACE(fmt::format("call {} of {}", k, operations_));
    disk_.DieAt(k);
    const absl::StatusOr<std::string> name = HandIn();
    EXPECT_EQ(name.ok(), k == operations_) << name.status();
    disk_.CutPower(static_cast<uint64_t>(k));
    const std::string kept = name.ok() ? *name : HandInAgain();
    disk_.CutPower(static_cast<uint64_t>(k));
    ExpectThere(kept);
    Clear();
  }
}

// Not even where a sync fails, and the next one would succeed.
TEST_F(ContributionFaultsTest, AfterAnIoErrorNothingIsKeptThatIsNotThere) {
  bool began_anew = false;
  for (int64_t k = (operations_ - 1) % kStride; k < operations_; k += kStride) {
    SCOPED_TRACE(fmt::format("call {} of {}", k, operations_));
    disk_.FailAt(k, EIO);
    EXPECT_THAT(HandIn(), HasCode(absl::StatusCode::kUnavailable));
    EXPECT_TRUE(disk_.struck());
    const std::string kept = HandInAgain();
    began_anew = begin_ == 0;
    disk_.CutPower(static_cast<uint64_t>(k));
    ExpectThere(kept);
    Clear();
  }
  EXPECT_TRUE(began_anew) << "the last calls are syncs";
}

TEST_F(ContributionFaultsTest, OnAFullDiskItIsNotTakenAndComesAgain) {
  for (int64_t k = 0; k < operations_; k += kStride) {
    SCOPED_TRACE(fmt::format("call {} of {}", k, operations_));
    disk_.FailAt(k, ENOSPC);
    EXPECT_THAT(HandIn(), HasCode(absl::StatusCode::kUnavailable));
    const std::string kept = HandInAgain();
    disk_.CutPower(static_cast<uint64_t>(k));
    ExpectThere(kept);
    Clear();
  }
}

TEST_F(ContributionFaultsTest, WhatALyingDiskHasLostIsNoticed) {
  int64_t lost = 0;
  for (uint64_t seed = 0; seed < 20; ++seed) {
    SCOPED_TRACE(seed);
    disk_.LoseSyncs();
    const absl::StatusOr<std::string> name = HandIn();
    ASSERT_THAT(name, IsOk());
    disk_.CutPower(seed);
    const auto restored = Restored(*name);
    if (restored.ok()) {
      ExpectThere(*name);
    } else {
      ++lost;
      EXPECT_THAT(restored, AnyOf(HasCode(absl::StatusCode::kDataLoss),
                                  HasCode(absl::StatusCode::kNotFound)));
    }
    Clear();
  }
  EXPECT_GT(lost, 5);
}

// Small ones lie in one file.
class SmallContributionsTest : public ContributionFaultsTest {
 protected:
  absl::StatusOr<std::string> Keep(std::string_view content) {
    const auto place = pack_.NewPlace(content.size());
    if (!place.ok()) return place.status();
    const absl::Status written = (*place)->Write(0, std::as_bytes(std::span(content)));
    if (!written.ok()) return written;
    SpoolPack::Place* const one = place->get();
    const absl::Status kept = pack_.Keep({&one, 1});
    if (!kept.ok()) return kept;
    return (*place)->name();
  }

  // Taken of the disk, by all files of the spool.
  uint64_t Occupied() const {
    uint64_t bytes = 0;
    for (const auto& entry : std::filesystem::directory_iterator(directory_.path() / "spool")) {
      struct stat status {};
      EXPECT_EQ(::stat(entry.path().c_str(), &status), 0);
      bytes += static_cast<uint64_t>(status.st_blocks) * 512;
    }
    return bytes;
  }

  void ExpectHas(const std::string& name, std::string_view content) const {
    const absl::StatusOr<SpoolFile> file = spool_.Find(name, content.size());
    ASSERT_THAT(file, IsOk());
    std::string there(content.size(), '?');
    ASSERT_THAT(file->Read(0, std::as_writable_bytes(std::span(there))), IsOk());
    EXPECT_EQ(there, content);
  }
};

// Whatever another one met with meanwhile.
TEST_F(SmallContributionsTest, OneThatComesMeanwhileIsKeptOnlyIfItIsThere) {
  int64_t given_up = 0;
  bool struck = true;
  for (int64_t k = 0; struck; ++k) {
    SCOPED_TRACE(fmt::format("call {}", k));
    const std::unique_ptr<SpoolPack::Place> coming = *pack_.NewPlace(6);
    ASSERT_THAT(coming->Write(0, std::as_bytes(std::span("coming", 6))), IsOk());
    disk_.FailAt(k, EIO);
    const absl::StatusOr<std::string> other = Keep("other");
    struck = disk_.struck();
    EXPECT_EQ(other.ok(), !struck);
    disk_.Heal();
    SpoolPack::Place* const one = coming.get();
    const bool kept = pack_.CanKeep(*coming) && pack_.Keep({&one, 1}).ok();
    given_up += kept ? 0 : 1;
    disk_.CutPower(static_cast<uint64_t>(k));
    if (kept) ExpectHas(coming->name(), "coming");
    pack_.GiveUpFile();
    Clear();
  }
  EXPECT_GT(given_up, 0) << "a sync has failed";
}

TEST_F(SmallContributionsTest, OneHasItsSpaceOnTheDiskBeforeItsBytesCome) {
  const std::unique_ptr<SpoolPack::Place> first = *pack_.NewPlace(kMiB);
  EXPECT_GE(Occupied(), kMiB);
  const std::unique_ptr<SpoolPack::Place> second = *pack_.NewPlace(kMiB);
  EXPECT_GE(Occupied(), 2 * kMiB);
}

TEST_F(SmallContributionsTest, OneThatIsCutOffOnAFullDiskTakesNothingOfItAndOthersStay) {
  const std::string content(kMiB, 'c');
  std::unique_ptr<SpoolPack::Place> cut_off = *pack_.NewPlace(kMiB);
  const absl::StatusOr<std::string> kept = Keep(content);
  ASSERT_THAT(kept, IsOk());
  std::unique_ptr<SpoolPack::Place> behind = *pack_.NewPlace(kMiB);
  ASSERT_THAT(behind->Write(0, std::as_bytes(std::span(content))), IsOk());
  cut_off.reset();
  behind.reset();
  EXPECT_GE(Occupied(), 3 * kMiB);
  disk_.FailAt(0, ENOSPC);
  EXPECT_THAT(pack_.NewPlace(kMiB), HasCode(absl::StatusCode::kResourceExhausted));
  EXPECT_LT(Occupied(), 2 * kMiB);
  ExpectHas(*kept, content);
  ASSERT_THAT(Keep(content), IsOk());
  EXPECT_GE(Occupied(), 2 * kMiB);
}

TEST_F(SmallContributionsTest, WhatWasKeptIsThereWhateverFailsBehindIt) {
  for (const int error : {EIO, ENOSPC}) {
    bool struck = true;
    for (int64_t k = 0; struck; ++k) {
      SCOPED_TRACE(fmt::format("error {}, call {}", error, k));
      const absl::StatusOr<std::string> first = Keep("first");
      ASSERT_THAT(first, IsOk());
      disk_.FailAt(k, error);
      const absl::StatusOr<std::string> second = Keep("second");
      struck = disk_.struck();
      disk_.Heal();
      EXPECT_EQ(second.ok(), !struck);
      const absl::StatusOr<std::string> again = Keep("second");
      ASSERT_THAT(again, IsOk());
      disk_.CutPower(static_cast<uint64_t>(k));
      ExpectHas(*first, "first");
      ExpectHas(*again, "second");
      pack_.GiveUpFile();
      Clear();
    }
  }
}

}  // namespace
}  // namespace fedtune
