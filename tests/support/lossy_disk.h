// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <utility>

namespace fedtune::testing {

// A folder on a disk that fails. Programs that link it have their own write(),
// pwrite(), ftruncate(), fallocate(), rename(), unlink(), fsync() and fdatasync(), so
// that what the process does to files of the folder by these (an operation) can fail,
// and what was not synced can be taken away. What is done in another way is done, and
// a power cut may take it away as well. Several may be there at once. For tests with
// one thread.
class LossyDisk {
 public:
  // `folder` exists; all that is in it now is on the disk.
  explicit LossyDisk(const std::filesystem::path& folder);
  LossyDisk(const LossyDisk&) = delete;
  LossyDisk& operator=(const LossyDisk&) = delete;
  ~LossyDisk();

  // The operation with this number from now on, from 0 on, fails with `error`. A sync
  // that has failed has lost what it was for: later ones of the file do not bring it.
  void FailAt(int64_t at, int error);
  // This one and all later ones do, as for a process that is gone with its power: of a
  // write that is struck, half of the bytes arrive.
  void DieAt(int64_t at);
  // From now on syncs say that they are done and are not.
  void LoseSyncs() { loses_syncs_ = true; }
  // No fault any more.
  void Heal();

  // How many operations there were since the last of the calls above, and whether the
  // fault has struck.
  int64_t operations() const { return operations_; }
  bool struck() const { return struck_; }

  // The folder becomes what a disk may have of it: files that were synced with what was
  // synced, and of all else any part, as the seed draws: names, lengths, and bytes by
  // the sector. All that is then there is on the disk.
  void CutPower(uint64_t seed);

 private:
  friend struct LossyCalls;

  // What is on the disk of a file, whatever its name.
  struct Image {
    std::string bytes;
    bool sync_has_failed = false;
  };
  using FileId = std::pair<uint64_t, int64_t>;  // Number and birth: numbers are used again.
  using Names = std::map<std::filesystem::path, std::shared_ptr<Image>>;

  enum class Verdict { kDo, kFail, kHalf };

  static LossyDisk* Of(int fd);
  static LossyDisk* Of(const char* path);
  bool Holds(const std::filesystem::path& path) const;

  Verdict Judge();
  bool SyncIsLost() const { return loses_syncs_; }
  void Synced(int fd);
  std::shared_ptr<Image> ImageOf(const std::filesystem::path& path);
  Names NamesNow();
  void Forget();

  const std::filesystem::path folder_;
  int error_ = 0;
  int64_t at_ = -1;
  bool dies_ = false;
  bool loses_syncs_ = false;
  int64_t operations_ = 0;
  bool struck_ = false;
  std::map<FileId, std::shared_ptr<Image>> images_;
  Names names_;  // On the disk.
};

}  // namespace fedtune::testing
