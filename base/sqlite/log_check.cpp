// SPDX-License-Identifier: Apache-2.0

#include "base/sqlite/log_check.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <fstream>
#include <map>
#include <span>
#include <system_error>
#include <utility>
#include <vector>

#include "base/sqlite/page_checksum.h"
#include "fmt/format.h"

namespace fedtune {
namespace {

constexpr size_t kHeaderBytes = 32;
constexpr size_t kFrameHeaderBytes = 24;
constexpr size_t kWordBytes = 4;
constexpr size_t kCheckpointsAt = 12;
constexpr int kReadings = 4;

// Its last bit says in which order the words are that checksums are made of.
constexpr uint32_t kMagic = 0x377f0682;
// What a header says that can be believed no more; SQLite's own.
constexpr size_t kUsualPageBytes = 4096;

uint32_t BigEndian(std::span<const uint8_t> bytes) {
  return uint32_t{bytes[0]} << 24 | uint32_t{bytes[1]} << 16 | uint32_t{bytes[2]} << 8 | bytes[3];
}

uint32_t LittleEndian(std::span<const uint8_t> bytes) {
  return uint32_t{bytes[3]} << 24 | uint32_t{bytes[2]} << 16 | uint32_t{bytes[1]} << 8 | bytes[0];
}

// A pair of words: salts, or the sum up to a place of the log.
struct Pair {
  uint32_t first = 0;
  uint32_t second = 0;

  friend bool operator==(const Pair&, const Pair&) = default;
};

Pair PairAt(std::span<const uint8_t> bytes, size_t at) {
  return {BigEndian(bytes.subspan(at)), BigEndian(bytes.subspan(at + kWordBytes))};
}

struct LogHeader {
  bool is_whole = false;
  bool is_big_endian = false;  // The words of checksums.
  size_t page_bytes = kUsualPageBytes;
  Pair salts;
  Pair sum;
};

// The sum goes on from `sum` over `bytes`, which are pairs of words.
Pair Sum(Pair sum, std::span<const uint8_t> bytes, bool is_big_endian) {
  const auto word = is_big_endian ? BigEndian : LittleEndian;
  for (; bytes.size() >= 2 * kWordBytes; bytes = bytes.subspan(2 * kWordBytes)) {
    sum.first += word(bytes) + sum.second;
    sum.second += word(bytes.subspan(kWordBytes)) + sum.first;
  }
  return sum;
}

LogHeader HeaderOf(std::span<const uint8_t> bytes) {
  const uint32_t magic = BigEndian(bytes);
  LogHeader header{.is_big_endian = (magic & 1) != 0,
                   .page_bytes = BigEndian(bytes.subspan(8)),
                   .salts = PairAt(bytes, 16),
                   .sum = PairAt(bytes, 24)};
  header.is_whole =
      (magic & ~uint32_t{1}) == kMagic &&
      Sum({}, bytes.first(kHeaderBytes - 2 * kWordBytes), header.is_big_endian) == header.sum;
  if (header.is_whole) return header;
  return {.salts = header.salts, .sum = header.sum};
}

// The header over which a crash has let the first half of another one be written, whose
// number of checkpoints is one more; none if that is not what it looks like.
std::optional<LogHeader> HeaderUnder(std::span<const uint8_t> header) {
  std::vector<uint8_t> before(header.begin(), header.end());
  for (size_t at = kCheckpointsAt + kWordBytes; at-- > kCheckpointsAt && before[at]-- == 0;) {
  }
  const LogHeader under = HeaderOf(before);
  return under.is_whole ? std::optional(under) : std::nullopt;
}

// A log from its beginning on, frame by frame.
class LogReader {
 public:
  explicit LogReader(const std::filesystem::path& log) : file_(log, std::ios::binary) {}

  // False: there is none.
  bool ReadHeader() {
    std::array<uint8_t, kHeaderBytes> bytes{};
    if (!Read(bytes)) return false;
    const std::optional<LogHeader> under = HeaderUnder(bytes);
    seems_half_new_ = under.has_value();
    header_ = under.value_or(HeaderOf(bytes));
    bytes_.resize(kFrameHeaderBytes + header_.page_bytes);
    return true;
  }

  // False: no whole frame is left.
  bool ReadFrame() {
    said_before_ = number_ == 0 ? header_.sum : sum();
    is_before_ = is_;
    if (!Read(bytes_)) return false;
    ++number_;
    // A header whose salts are damaged has frames with others.
    if (number_ == 1 && !header_.is_whole) header_.salts = salts();
    is_ = SumFrom(said_before_);
    return true;
  }

  // As it was before the first half of a new one was written over it, if it was.
  const LogHeader& header() const { return header_; }
  bool seems_half_new() const { return seems_half_new_; }
  int64_t number() const { return number_; }

  // Of the last frame that was read.
  bool is_of_this_log() const { return salts() == header_.salts; }
  uint32_t page() const { return PairAt(bytes_, 0).first; }
  // 0: it ends no transaction.
  uint32_t pages_after_commit() const { return PairAt(bytes_, 0).second; }
  bool has_commit_mark() const { return pages_after_commit() != 0; }
  // The sum that the frame before it has, or should have.
  bool follows_the_last() const {
    return is_of_this_log() && (is_ == sum() || SumFrom(is_before_) == sum());
  }

 private:
  bool Read(std::span<uint8_t> bytes) {
    file_.read(reinterpret_cast<char*>(bytes.data()), std::ssize(bytes));
    return file_.gcount() == std::ssize(bytes);
  }
  Pair SumFrom(const Pair& before) const {
    const std::span<const uint8_t> all(bytes_);
    const Pair of_head = Sum(before, all.first(2 * kWordBytes), header_.is_big_endian);
    return Sum(of_head, all.subspan(kFrameHeaderBytes), header_.is_big_endian);
  }
  Pair salts() const { return PairAt(bytes_, 8); }
  Pair sum() const { return PairAt(bytes_, 16); }

  std::ifstream file_;
  LogHeader header_;
  bool seems_half_new_ = false;
  int64_t number_ = 0;
  Pair said_before_;            // By the frame before.
  Pair is_before_;              // Of its content.
  Pair is_;                     // Of the content of the last frame.
  std::vector<uint8_t> bytes_;  // Of a frame.
};

// Whether a whole transaction follows upon a commit, from the current frame on.
bool CommitsAgain(LogReader& log) {
  bool after_commit = log.has_commit_mark();
  while (log.ReadFrame()) {
    after_commit = after_commit && log.follows_the_last();
    if (!log.is_of_this_log() || !log.has_commit_mark()) continue;
    if (after_commit) return true;
    after_commit = true;
  }
  return false;
}

// Which frames have a log's pages as its last commit has them.
struct CommittedPages {
  uint32_t count = 0;                  // Of the database.
  std::map<uint32_t, int64_t> frames;  // By page.
};

CommittedPages Committed(LogReader& log) {
  CommittedPages committed;
  std::map<uint32_t, int64_t> open;
  while (log.ReadFrame() && log.follows_the_last()) {
    open[log.page()] = log.number();
    if (!log.has_commit_mark()) continue;
    committed.count = log.pages_after_commit();
    for (const auto& [page, frame] : std::exchange(open, {})) committed.frames[page] = frame;
  }
  return committed;
}

std::vector<char> PartOf(std::ifstream& file, int64_t at, size_t size) {
  std::vector<char> part(size);
  file.seekg(at);
  if (!file.read(part.data(), std::ssize(part))) part.clear();
  file.clear();
  return part;
}

// A log begins anew only when all of it is in the database: then nothing of it is wanted.
bool IsInDatabase(LogReader& reader, const std::filesystem::path& log,
                  const std::filesystem::path& database) {
  const auto page_bytes = static_cast<int64_t>(reader.header().page_bytes);
  const size_t compared = reader.header().page_bytes - kPageChecksumBytes;
  const CommittedPages committed = Committed(reader);
  std::ifstream pages(database, std::ios::binary), frames(log, std::ios::binary);
  return std::all_of(committed.frames.begin(), committed.frames.end(), [&](const auto& entry) {
    const auto& [page, frame] = entry;
    if (page > committed.count) return true;  // The database became shorter.
    const int64_t in_log = static_cast<int64_t>(kHeaderBytes) +
                           (frame - 1) * (static_cast<int64_t>(kFrameHeaderBytes) + page_bytes) +
                           static_cast<int64_t>(kFrameHeaderBytes);
    const std::vector<char> stored = PartOf(pages, (int64_t{page} - 1) * page_bytes, compared);
    return !stored.empty() && stored == PartOf(frames, in_log, compared);
  });
}

std::optional<int64_t> Look(const std::filesystem::path& database) {
  const std::filesystem::path path = LogOf(database);
  LogReader log(path);
  if (!log.ReadHeader()) return std::nullopt;
  if (log.seems_half_new()) {
    return IsInDatabase(log, path, database) ? std::nullopt : std::optional<int64_t>(0);
  }
  if (!log.header().is_whole) {
    const bool has_frames = log.ReadFrame();
    return has_frames && CommitsAgain(log) ? std::optional<int64_t>(0) : std::nullopt;
  }
  while (log.ReadFrame()) {
    if (log.follows_the_last()) continue;
    const int64_t damaged = log.number();
    return CommitsAgain(log) ? std::optional(damaged) : std::nullopt;
  }
  return std::nullopt;
}

}  // namespace

std::filesystem::path LogOf(const std::filesystem::path& database) {
  std::error_code error;
  const std::filesystem::path file = std::filesystem::canonical(database, error);
  return (error ? database : file).string() + "-wal";
}

uint64_t SizeOfDatabase(const std::filesystem::path& database) {
  uint64_t bytes = 0;
  for (const std::filesystem::path& file : {database, LogOf(database)}) {
    std::error_code error;
    const uint64_t size = std::filesystem::file_size(file, error);
    if (!error) bytes += size;
  }
  return bytes;
}

std::optional<int64_t> DamagedFrame(const std::filesystem::path& database) {
  const std::optional<int64_t> damaged = Look(database);
  // What was being written is whole when something lies behind it.
  for (int reading = 1; damaged.has_value() && reading < kReadings; ++reading) {
    if (Look(database) != damaged) return std::nullopt;
  }
  return damaged;
}

absl::Status CheckLog(const std::filesystem::path& database) {
  const std::optional<int64_t> frame = DamagedFrame(database);
  if (!frame.has_value()) return absl::OkStatus();
  return absl::DataLossError(
      fmt::format("{}, which is part of the database: {} is damaged", LogOf(database).string(),
                  *frame == 0 ? "its header" : fmt::format("frame {}", *frame)));
}

void RemoveHalfNewLog(const std::filesystem::path& database) {
  const std::filesystem::path path = LogOf(database);
  LogReader log(path);
  if (!log.ReadHeader() || !log.seems_half_new() || !IsInDatabase(log, path, database)) return;
  std::error_code ignored;  // SQLite says what is wrong with the folder.
  std::filesystem::remove(path, ignored);
}

}  // namespace fedtune
