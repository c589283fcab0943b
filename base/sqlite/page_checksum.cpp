// SPDX-License-Identifier: Apache-2.0

#include "base/sqlite/page_checksum.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstring>
#include <set>
#include <string_view>
#include <utility>

#include "absl/time/clock.h"
#include "base/descriptor.h"
#include "base/files.h"
#include "base/sqlite/log_check.h"
#include "base/status_macros.h"
#include "fmt/format.h"

namespace fedtune {
namespace {

static_assert(std::endian::native == std::endian::little, "checksums are of little-endian words");

constexpr std::string_view kMagic{"SQLite format 3\0", 16};
constexpr size_t kHeaderBytes = 100;
constexpr size_t kPageSizeAt = 16;
constexpr int kReadings = 4;

// Two sums that depend on each other: a word that differs changes all sums after it,
// and no step takes a difference away.
uint64_t Checksum(int64_t number, std::span<const uint8_t> content) {
  uint32_t a = static_cast<uint32_t>(number);
  uint32_t b = static_cast<uint32_t>(number >> 32) + 1;
  for (size_t i = 0; i + 8 <= content.size(); i += 8) {
    uint32_t words[2];
    std::memcpy(words, content.data() + i, sizeof(words));
    a += words[0] + b;
    b += words[1] + a;
  }
  return uint64_t{b} << 32 | a;
}

size_t PageSizeOf(std::span<const uint8_t> header) {
  const size_t size = size_t{header[kPageSizeAt]} << 8 | header[kPageSizeAt + 1];
  return size == 1 ? size_t{65536} : size;
}

bool IsPageSize(size_t size) { return size >= 512 && size <= 65536 && std::has_single_bit(size); }

class OpenFile {
 public:
  static absl::StatusOr<OpenFile> Open(const std::filesystem::path& path, int flags) {
    Descriptor fd(::open(path.c_str(), flags | O_CLOEXEC));
    if (fd.get() < 0) return ErrnoToStatus(errno, "open", path);
    return OpenFile(std::move(fd), path);
  }

  absl::StatusOr<int64_t> Size() const {
    struct stat status;
    if (::fstat(fd_.get(), &status) != 0) return ErrnoToStatus(errno, "read", path_);
    return status.st_size;
  }

  // As many bytes as there are.
  absl::StatusOr<size_t> Read(int64_t offset, std::span<uint8_t> bytes) const {
    const ssize_t size = ::pread(fd_.get(), bytes.data(), bytes.size(), offset);
    if (size < 0) return ErrnoToStatus(errno, "read", path_);
    return static_cast<size_t>(size);
  }

  absl::Status Write(int64_t offset, std::span<const uint8_t> bytes) const {
    const ssize_t size = ::pwrite(fd_.get(), bytes.data(), bytes.size(), offset);
    return size == std::ssize(bytes) ? absl::OkStatus() : ErrnoToStatus(errno, "write", path_);
  }

  absl::Status Sync() const {
    return ::fsync(fd_.get()) == 0 ? absl::OkStatus() : ErrnoToStatus(errno, "sync", path_);
  }

 private:
  OpenFile(Descriptor fd, std::filesystem::path path)
      : fd_(std::move(fd)), path_(std::move(path)) {}

  Descriptor fd_;
  std::filesystem::path path_;
};

// Zero: it is no database's header.
absl::StatusOr<size_t> ReadPageSize(const OpenFile& file) {
  std::vector<uint8_t> header(kHeaderBytes);
  ASSIGN_OR_RETURN(const size_t size, file.Read(0, header));
  if (size < kHeaderBytes || std::memcmp(header.data(), kMagic.data(), kMagic.size()) != 0) {
    return size_t{0};
  }
  const size_t page_size = PageSizeOf(header);
  return IsPageSize(page_size) ? page_size : size_t{0};
}

constexpr int64_t kLogHeaderBytes = 32;
constexpr size_t kFrameHeaderBytes = 24;
constexpr size_t kLogSaltAt = 16;
constexpr size_t kFrameSaltAt = 8;
constexpr size_t kSaltBytes = 8;

// The pages that the write-ahead log holds a newer version of. What the database's file
// has of them is not read, and may have been cut off by a crash while it was written.
absl::StatusOr<std::set<int64_t>> PagesInLog(const std::filesystem::path& database,
                                             size_t page_size) {
  std::set<int64_t> pages;
  const auto file = OpenFile::Open(LogOf(database), O_RDONLY);
  if (absl::IsNotFound(file.status())) return pages;
  RETURN_IF_ERROR(file.status());
  std::array<uint8_t, kLogHeaderBytes> header;
  ASSIGN_OR_RETURN(const size_t size, file->Read(0, header));
  if (size < header.size()) return pages;
  std::array<uint8_t, kFrameHeaderBytes> frame;
  const auto step = static_cast<int64_t>(kFrameHeaderBytes + page_size);
  for (int64_t offset = kLogHeaderBytes;; offset += step) {
    ASSIGN_OR_RETURN(const size_t read, file->Read(offset, frame));
    if (read < frame.size() ||
        std::memcmp(&frame[kFrameSaltAt], &header[kLogSaltAt], kSaltBytes) != 0) {
      return pages;
    }
    pages.insert(int64_t{frame[0]} << 24 | int64_t{frame[1]} << 16 | int64_t{frame[2]} << 8 |
                 int64_t{frame[3]});
  }
}

// What looks damaged may be a page that is being written.
absl::StatusOr<bool> IsIntactInTheEnd(const OpenFile& file, int64_t number,
                                      std::span<uint8_t> page) {
  for (int reading = 0; reading < kReadings; ++reading) {
    if (reading > 0) absl::SleepFor(absl::Milliseconds(20));
    ASSIGN_OR_RETURN(const size_t size, file.Read((number - 1) * std::ssize(page), page));
    if (size == page.size() && IsPageIntact(number, page)) return true;
  }
  return false;
}

}  // namespace

bool HasPageChecksums(std::span<const uint8_t> header) {
  return header.size() > kReservedBytesAt &&
         std::memcmp(header.data(), kMagic.data(), kMagic.size()) == 0 &&
         header[kReservedBytesAt] == kPageChecksumBytes;
}

void SealPage(int64_t number, std::span<uint8_t> page) {
  const auto content = page.first(page.size() - kPageChecksumBytes);
  const uint64_t sum = Checksum(number, content);
  std::memcpy(page.data() + content.size(), &sum, sizeof(sum));
}

bool IsPageIntact(int64_t number, std::span<const uint8_t> page) {
  const auto content = page.first(page.size() - kPageChecksumBytes);
  uint64_t stored = 0;
  std::memcpy(&stored, page.data() + content.size(), sizeof(stored));
  if (stored == Checksum(number, content)) return true;
  return std::all_of(page.begin(), page.end(), [](uint8_t byte) { return byte == 0; });
}

absl::StatusOr<std::vector<int64_t>> DamagedPages(const std::filesystem::path& path,
                                                  const PageProgress& progress) {
  ASSIGN_OR_RETURN(const OpenFile file, OpenFile::Open(path, O_RDONLY));
  ASSIGN_OR_RETURN(const size_t page_size, ReadPageSize(file));
  if (page_size == 0) return std::vector<int64_t>{1};
  ASSIGN_OR_RETURN(const int64_t size, file.Size());
  const auto bytes = static_cast<int64_t>(page_size);
  const int64_t pages = (size + bytes - 1) / bytes;
  std::vector<int64_t> damaged;
  std::vector<uint8_t> page(page_size);
  for (int64_t number = 1; number <= pages; ++number) {
    ASSIGN_OR_RETURN(const bool intact, IsIntactInTheEnd(file, number, page));
    if (!intact) damaged.push_back(number);
    if (progress != nullptr && !progress(number, pages)) {
      return absl::CancelledError(fmt::format("not all pages of {} were read", path.string()));
    }
  }
  if (damaged.empty()) return damaged;
  ASSIGN_OR_RETURN(const std::set<int64_t> newer, PagesInLog(path, page_size));
  std::erase_if(damaged, [&newer](int64_t number) { return newer.contains(number); });
  return damaged;
}

absl::Status SealAllPages(const std::filesystem::path& path) {
  ASSIGN_OR_RETURN(const OpenFile file, OpenFile::Open(path, O_RDWR));
  ASSIGN_OR_RETURN(const size_t page_size, ReadPageSize(file));
  ASSIGN_OR_RETURN(const int64_t size, file.Size());
  std::vector<uint8_t> page(page_size);
  const auto bytes = static_cast<int64_t>(page_size);
  for (int64_t offset = 0; bytes > 0 && offset + bytes <= size; offset += bytes) {
    RETURN_IF_ERROR(file.Read(offset, page).status());
    SealPage(offset / bytes + 1, page);
    RETURN_IF_ERROR(file.Write(offset, page));
  }
  return file.Sync();
}

absl::StatusOr<Checksums> ChecksumsOf(const std::filesystem::path& path) {
  ASSIGN_OR_RETURN(const OpenFile file, OpenFile::Open(path, O_RDONLY));
  ASSIGN_OR_RETURN(const size_t page_size, ReadPageSize(file));
  std::vector<uint8_t> page(page_size);
  ASSIGN_OR_RETURN(const size_t size, file.Read(0, page));
  if (size < page_size || page_size == 0) return Checksums::kNone;
  if (HasPageChecksums(page)) return Checksums::kAll;
  page[kReservedBytesAt] = kPageChecksumBytes;
  return IsPageIntact(1, page) ? Checksums::kHidden : Checksums::kNone;
}

}  // namespace fedtune
