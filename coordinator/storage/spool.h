// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace fedtune {

// A file of a spool, read and written in place. It goes with the object, unless it
// is kept or left. Reading is thread-safe. Movable.
class SpoolFile {
 public:
  enum class AtEnd : uint8_t { kRemoved, kStays };

  SpoolFile(SpoolFile&& other) noexcept;
  SpoolFile& operator=(SpoolFile&& other) noexcept;
  ~SpoolFile();

  // RESOURCE_EXHAUSTED: the disk is full.
  absl::Status Write(uint64_t offset, std::span<const std::byte> bytes);

  // INTERNAL: the file is shorter, or cannot be read.
  absl::Status Read(uint64_t offset, std::span<std::byte> bytes) const;

  // Takes these bytes of the disk for what is to come there, where the file system can.
  // RESOURCE_EXHAUSTED: the disk is full; it may have taken some of them.
  absl::Status Reserve(uint64_t begin, uint64_t size);

  // The disk gets them back, where the file system can. What was written there is gone.
  void LetGo(uint64_t begin, uint64_t size);

  // Brings all that was written onto the disk; from then on the file stays, for
  // Spool::Find(). INTERNAL: the disk does not take it; what it has is unknown, and
  // the file goes with the object, unless something was kept in it before: nobody may
  // go on with it.
  absl::Status Keep();

  // It goes with the object after all.
  void Discard() { at_end_ = AtEnd::kRemoved; }

  // Nobody finds it any more; whoever has it open can read it still.
  void Remove();

  // How many bytes it has. INTERNAL.
  absl::StatusOr<uint64_t> Size() const;

  // Cuts it off. INTERNAL.
  absl::Status Truncate(uint64_t size);

  // By which Spool::Find() knows it.
  std::string name() const { return path_.filename().string(); }

 private:
  friend class Spool;
  SpoolFile(int fd, std::filesystem::path path, AtEnd at_end)
      : fd_(fd), path_(std::move(path)), at_end_(at_end) {}

  int fd_;
  std::filesystem::path path_;
  AtEnd at_end_;
  bool is_kept_ = false;
  uint64_t begin_ = 0;  // What it gives to read; others are before it.
};

// What is kept in a file with others.
struct KeptBytes {
  std::string name;  // By which Spool::Find() knows it.
  std::shared_ptr<const SpoolFile> file;
  uint64_t begin = 0;  // In the file.
};

// The folder of what clients hand in for rounds that are open: a file for each
// contribution, from its first byte until its round is released. A restarted
// process finds those that were kept, and goes on with those that were left. The
// name of a file begins with its run's and a dot. Thread-safe.
class Spool {
 public:
  // Makes the folder, for its owner's eyes only. Errors as MakeDirectories() and
  // ErrnoToStatus().
  static absl::StatusOr<Spool> Open(const std::filesystem::path& directory);

  // A new file for `run`, with `size` bytes of the disk taken at once where the
  // file system can do so. RESOURCE_EXHAUSTED: the disk is full.
  absl::StatusOr<SpoolFile> Create(std::string_view run, uint64_t size) const;

  // The file of an upload that may be cut off: what an earlier call has written is
  // in it, and stays. `slot` names the one upload of a client that may be under way,
  // `content` what is uploaded; what it left of anything else goes, unless a call is
  // still writing it. While another call has the file, a new one that does not stay.
  // RESOURCE_EXHAUSTED.
  absl::StatusOr<SpoolFile> CreateOrGoOn(std::string_view run, std::string_view slot,
                                         std::string_view content, uint64_t size) const;

  // By which it finds what begins there in a file with others.
  static std::string NameIn(const SpoolFile& file, uint64_t begin);

  // What was kept, a file or what is in one with others. NOT_FOUND: there is none.
  // DATA_LOSS: it has another size.
  absl::StatusOr<SpoolFile> Find(std::string_view name, uint64_t size) const;

  // The same of what is in a file with others, which is opened once for all of them:
  // `open` has those that are. Errors as Find().
  using OpenFiles = std::map<std::string, std::shared_ptr<const SpoolFile>, std::less<>>;
  absl::StatusOr<KeptBytes> FindTogether(std::string_view name, uint64_t size,
                                         OpenFiles& open) const;

  // Removes the files of `run` in which nothing is `wanted`, but for those left in slots
  // that begin with `slots`, if it is not empty. What cannot be removed now is removed
  // another time. Those who have a file open keep its bytes.
  void Remove(std::string_view run, const std::set<std::string>& wanted = {},
              std::string_view slots = "") const;

  // The same in two steps, as the disk takes its time to free large files: at once
  // nobody finds them any more; what this returns frees their space.
  std::function<void()> SetAside(std::string_view run, const std::set<std::string>& wanted) const;

  // Removes everything that is of none of these runs. Call it before clients connect.
  // Errors as ErrnoToStatus(); some may be gone then.
  absl::Status RemoveAllBut(const std::set<std::string>& runs) const;

 private:
  explicit Spool(std::filesystem::path directory) : directory_(std::move(directory)) {}

  void RemoveIf(const std::function<bool(const std::string&)>& unwanted) const;

  std::filesystem::path directory_;
};

}  // namespace fedtune
