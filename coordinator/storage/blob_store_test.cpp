// SPDX-License-Identifier: Apache-2.0

#include "coordinator/storage/blob_store.h"

#include <sys/resource.h>

#include <csignal>
#include <optional>
#include <string>
#include <string_view>

#include "base/files.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace fedtune {
namespace {

using testing::HasCode;
using testing::IsOk;
using testing::TemporaryDirectory;

std::span<const std::byte> AsBytes(std::string_view text) { return std::as_bytes(std::span(text)); }

std::string AsText(const Blob& blob) {
  return {reinterpret_cast<const char*>(blob.bytes().data()), blob.size()};
}

class BlobStoreTest : public ::testing::Test {
 protected:
  int FileCount() const {
    int count = 0;
    for ([[maybe_unused]] const auto& e : std::filesystem::directory_iterator(folder())) ++count;
    return count;
  }
  std::filesystem::path folder() const { return directory_.path() / "blobs"; }

  const TemporaryDirectory directory_;
  BlobStore store_ = *BlobStore::Open(folder());
  const std::string text_ = "an adapter";
  const Digest digest_ = Sha256Of(text_);
};

TEST_F(BlobStoreTest, GivesBackWhatWasPut) {
  ASSERT_THAT(store_.Put(digest_, AsBytes(text_)), IsOk());
  const auto blob = store_.Get(digest_);
  ASSERT_THAT(blob, IsOk());
  EXPECT_EQ(AsText(*blob), text_);
}

TEST_F(BlobStoreTest, IsForItsOwnersEyesOnly) {
  using std::filesystem::perms;
  ASSERT_THAT(store_.Put(digest_, AsBytes(text_)), IsOk());
  EXPECT_EQ(std::filesystem::status(folder()).permissions(), perms::owner_all);
  EXPECT_EQ(std::filesystem::status(folder() / digest_.ToHex()).permissions(),
            perms::owner_read | perms::owner_write);
}

TEST_F(BlobStoreTest, PuttingTwiceKeepsOneFile) {
  ASSERT_THAT(store_.Put(digest_, AsBytes(text_)), IsOk());
  ASSERT_THAT(store_.Put(digest_, AsBytes(text_)), IsOk());
  EXPECT_EQ(FileCount(), 1);
}

TEST_F(BlobStoreTest, SaysThatABlobIsNotThere) {
  EXPECT_THAT(store_.Get(digest_), HasCode(absl::StatusCode::kNotFound));
}

TEST_F(BlobStoreTest, AHeldBlobOutlivesItsRemoval) {
  ASSERT_THAT(store_.Put(digest_, AsBytes(text_)), IsOk());
  const auto blob = store_.Get(digest_);
  ASSERT_THAT(blob, IsOk());
  ASSERT_THAT(store_.Remove(digest_), IsOk());
  EXPECT_EQ(AsText(*blob), text_);
  EXPECT_THAT(store_.Get(digest_), HasCode(absl::StatusCode::kNotFound));
}

TEST_F(BlobStoreTest, RemovingTwiceIsFine) {
  ASSERT_THAT(store_.Put(digest_, AsBytes(text_)), IsOk());
  EXPECT_THAT(store_.Remove(digest_), IsOk());
  EXPECT_THAT(store_.Remove(digest_), IsOk());
}

TEST_F(BlobStoreTest, OpeningRemovesWhatACrashLeft) {
  ASSERT_THAT(store_.Put(digest_, AsBytes(text_)), IsOk());
  ASSERT_THAT(WriteFileAtomically(folder() / "abc.123.partial", "half"), IsOk());
  ASSERT_THAT(BlobStore::Open(folder()), IsOk());
  EXPECT_EQ(FileCount(), 1);
  EXPECT_THAT(store_.Get(digest_), IsOk());
}

TEST_F(BlobStoreTest, RemovesAllButTheWanted) {
  const std::string other = "another adapter";
  ASSERT_THAT(store_.Put(digest_, AsBytes(text_)), IsOk());
  ASSERT_THAT(store_.Put(Sha256Of(other), AsBytes(other)), IsOk());
  ASSERT_THAT(store_.RemoveAllBut({digest_}), IsOk());
  EXPECT_EQ(FileCount(), 1);
  EXPECT_THAT(store_.Get(digest_), IsOk());
}

// A file-size limit stands in for a full disk: both make write() fail half-way.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) {
    handler_ = std::signal(SIGXFSZ, SIG_IGN);
    ::getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit limit{bytes, before_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FileSizeLimit() {
    ::setrlimit(RLIMIT_FSIZE, &before_);
    std::signal(SIGXFSZ, handler_);
  }
  FileSizeLimit(const FileSizeLimit&) = delete;
  FileSizeLimit& operator=(const FileSizeLimit&) = delete;

 private:
  rlimit before_{};
  void (*handler_)(int) = nullptr;
};

TEST_F(BlobStoreTest, LeavesNothingHalfWrittenWhenTheDiskIsFull) {
  const std::string large(100'000, 'x');
  {
    const FileSizeLimit limit(10'000);
    EXPECT_FALSE(store_.Put(Sha256Of(large), AsBytes(large)).ok());
  }
  EXPECT_EQ(FileCount(), 0);
}

}  // namespace
}  // namespace fedtune
