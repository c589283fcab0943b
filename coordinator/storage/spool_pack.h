// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "coordinator/storage/spool.h"

namespace fedtune {

// A file of small things of one run, each in a place of its own, written while it comes:
// those that are kept at the same time take one sync. Space that nobody needs any more is
// written again, which takes the disk much less time than new files do. Thread-safe.
class SpoolPack {
 public:
  class Place;

  // `spool` must outlive it.
  SpoolPack(const Spool& spool, std::string run) : spool_(spool), run_(std::move(run)) {}

  // For so many bytes, which no other place has while this one is there; it has its
  // space on the disk before they come, where the file system can do so.
  // RESOURCE_EXHAUSTED: the disk is full; it has got back all space of the file that
  // nobody needs. FAILED_PRECONDITION: it is closed. INTERNAL.
  absl::StatusOr<std::unique_ptr<Place>> NewPlace(uint64_t size);

  // A file of its own for something large; as Spool::Create() and Spool::CreateOrGoOn().
  // FAILED_PRECONDITION: it is closed.
  absl::StatusOr<SpoolFile> NewFile(uint64_t size) const;
  absl::StatusOr<SpoolFile> NewFileOrGoOn(std::string_view slot, std::string_view content,
                                          uint64_t size) const;

  // Whether what is written in it can be kept: not if its file was given up meanwhile.
  bool CanKeep(const Place& place) const;

  // Brings what was written in these places onto the disk. It stays until Clear(),
  // whatever becomes of them, and Spool::Find() finds it by their names. One call at a
  // time. Requires: CanKeep() each. RESOURCE_EXHAUSTED, INTERNAL: none is kept. The
  // file is given up then.
  absl::Status Keep(std::span<Place* const> places);

  // What comes from now on lies in another file; what was not kept before never is.
  void GiveUpFile();

  // What was kept in these places is not wanted after all: their space is written again
  // once they are gone. Requires: it is kept, and nobody was told its name.
  static void Unkeep(std::span<Place* const> places);

  // None of it is wanted any more, nor any other file of the run: Spool::SetAside().
  [[nodiscard]] std::function<void()> Clear();

  // Nor is there more to come, for good: no file of the run is made that a later
  // Spool::Remove() does not find.
  void Close();

  const Spool& spool() const { return spool_; }
  const std::string& run() const { return run_; }

 private:
  class File;

  absl::StatusOr<std::shared_ptr<File>> OpenFile();
  absl::StatusOr<SpoolFile> UnlessClosed(absl::StatusOr<SpoolFile> made) const;

  const Spool& spool_;
  const std::string run_;
  mutable std::mutex mutex_;
  std::shared_ptr<File> file_;  // Null: there is none now.
  bool is_closed_ = false;
};

// May outlive its pack. Reading is thread-safe.
class SpoolPack::Place {
 public:
  Place(const Place&) = delete;
  Place& operator=(const Place&) = delete;
  ~Place();

  // Requires: within its size. Errors as SpoolFile::Write().
  absl::Status Write(uint64_t offset, std::span<const std::byte> bytes);

  // INTERNAL: they cannot be read.
  absl::Status Read(uint64_t offset, std::span<std::byte> bytes) const;

  // By which Spool::Find() knows what is kept in it.
  std::string name() const;

 private:
  friend class SpoolPack;
  Place(std::shared_ptr<File> file, uint64_t space);

  const std::shared_ptr<File> file_;
  const uint64_t begin_;
};

}  // namespace fedtune
