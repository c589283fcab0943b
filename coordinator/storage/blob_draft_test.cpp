// SPDX-License-Identifier: Apache-2.0

#include "coordinator/storage/blob_draft.h"

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "coordinator/storage/blob_store.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace fedtune {
namespace {

using testing::HasCode;
using testing::IsOk;
using testing::TemporaryDirectory;

constexpr size_t kPiece = 10'000;
constexpr size_t kPieces = 101;

std::string Content() {
  std::string content(kPieces * kPiece, '\0');
  for (size_t i = 0; i < content.size(); ++i) content[i] = static_cast<char>(i % 251);
  return content;
}

// In memory, and in a file.
class BlobDraftTest : public ::testing::TestWithParam<bool> {
 protected:
  std::unique_ptr<BlobDraft> NewDraft() {
    if (!GetParam()) return std::make_unique<BlobDraftInMemory>(content_.size());
    return *store_.NewDraft(content_.size(), [](absl::Status status) { return status; });
  }
  absl::Status WritePiece(BlobDraft& draft, size_t piece) {
    const auto bytes = std::as_bytes(std::span(content_));
    return draft.Write(piece * kPiece, bytes.subspan(piece * kPiece, kPiece));
  }
  void ExpectWhole(BlobDraft& draft) {
    EXPECT_EQ(draft.TakeDigest(), Sha256Of(content_));
    const auto blob = draft.blob();
    ASSERT_THAT(blob, IsOk());
    EXPECT_EQ(AsText(*blob), content_);
  }
  static std::string_view AsText(const Blob& blob) {
    return {reinterpret_cast<const char*>(blob.bytes().data()), blob.size()};
  }
  int FileCount() const {
    int count = 0;
    for ([[maybe_unused]] const auto& e : std::filesystem::directory_iterator(directory_.path())) {
      ++count;
    }
    return count;
  }

  const std::string content_ = Content();
  const TemporaryDirectory directory_;
  BlobStore store_ = *BlobStore::Open(directory_.path());
};

TEST_P(BlobDraftTest, IsHashedInTheOrderOfItsBytesInWhateverOrderTheyCome) {
  const auto draft = NewDraft();
  for (size_t i = 0; i < kPieces; ++i) {
    ASSERT_THAT(WritePiece(*draft, (i * 37 + 50) % kPieces), IsOk());
  }
  ExpectWhole(*draft);
}

TEST_P(BlobDraftTest, IsWrittenBySeveralThreads) {
  const auto draft = NewDraft();
  std::vector<std::jthread> threads;
  for (size_t t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (size_t i = t; i < kPieces; i += 4) EXPECT_THAT(WritePiece(*draft, i), IsOk());
    });
  }
  threads.clear();
  ExpectWhole(*draft);
}

TEST_P(BlobDraftTest, LeavesNothingUnlessItIsKept) {
  ASSERT_THAT(WritePiece(*NewDraft(), 0), IsOk());
  EXPECT_EQ(FileCount(), 0);
}

TEST_P(BlobDraftTest, ABlobThatIsHeldOutlivesItsDraft) {
  auto draft = NewDraft();
  for (size_t i = 0; i < kPieces; ++i) ASSERT_THAT(WritePiece(*draft, i), IsOk());
  const auto blob = draft->blob();
  ASSERT_THAT(blob, IsOk());
  draft.reset();
  EXPECT_EQ(AsText(*blob), content_);
}

INSTANTIATE_TEST_SUITE_P(InMemoryAndInAFile, BlobDraftTest, ::testing::Bool());

class KeptDraftTest : public BlobDraftTest {
 protected:
  KeptDraftTest() {
    for (size_t i = 0; i < kPieces; ++i) EXPECT_THAT(WritePiece(*draft_, i), IsOk());
  }

  std::unique_ptr<BlobDraft> draft_ = NewDraft();
  const Digest digest_ = Sha256Of(content_);
};

TEST_P(KeptDraftTest, HasItsName) {
  EXPECT_THAT(store_.Get(digest_), HasCode(absl::StatusCode::kNotFound));
  ASSERT_THAT(draft_->Keep(digest_), IsOk());
  ASSERT_THAT(draft_->Keep(digest_), IsOk()) << "again";
  draft_.reset();
  const auto blob = store_.Get(digest_);
  ASSERT_THAT(blob, IsOk());
  EXPECT_EQ(AsText(*blob), content_);
  EXPECT_EQ(FileCount(), 1);
}

TEST_P(KeptDraftTest, LeavesABlobAloneThatIsThereAlready) {
  ASSERT_THAT(store_.Put(digest_, std::as_bytes(std::span(content_))), IsOk());
  ASSERT_THAT(draft_->Keep(digest_), IsOk());
  draft_.reset();
  EXPECT_THAT(store_.Get(digest_), IsOk());
  EXPECT_EQ(FileCount(), 1);
}

INSTANTIATE_TEST_SUITE_P(InAFile, KeptDraftTest, ::testing::Values(true));

TEST(BlobStoreDraftsTest, AreRemovedWhenTheStoreIsOpenedAgain) {
  const TemporaryDirectory directory;
  BlobStore store = *BlobStore::Open(directory.path());
  const auto draft = *store.NewDraft(100, [](absl::Status status) { return status; });
  EXPECT_FALSE(std::filesystem::is_empty(directory.path()));
  ASSERT_THAT(BlobStore::Open(directory.path()), IsOk());
  EXPECT_TRUE(std::filesystem::is_empty(directory.path()));
}

}  // namespace
}  // namespace fedtune
