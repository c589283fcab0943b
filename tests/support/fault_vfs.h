// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <vector>

namespace fedtune::testing {

// The disk beneath SQLite, which a test can fill up, break, or cut off. Once it is
// installed all databases of the process lie on it, in real files. It remembers what
// was written and not synced yet, so that a power cut can take that away. For tests
// with one thread.
class FaultVfs {
 public:
  // What happens with a write (of bytes, of a file's length, or a sync).
  enum class Fault {
    kNone,
    kCrash,      // The process is gone: this write and all later calls fail.
    kTornCrash,  // The same, but the first half of this write's bytes arrives.
    kIoError,    // This one fails, and nothing of it arrives.
    kFull,       // This one and all later ones find no space; syncs succeed.
    kLostSync,   // This sync, or the next one, says that it is done and is not.
  };

  // Which writes that were not synced are on the disk after a power cut.
  enum class Survivors { kAll, kNone, kEveryOther };

  // Once in a process, before its first database.
  static FaultVfs& Install();

  // `fault` strikes the write with this number, from 0 on.
  void Arm(Fault fault, int64_t at);

  // No fault any more.
  void Heal() { fault_ = Fault::kNone, dead_ = false; }

  // Takes away what was not synced, from the files of databases that are closed.
  void CutPower(Survivors survivors);

  // How many writes and reads there were since Arm().
  int64_t writes() const { return writes_; }
  int64_t reads() const { return reads_; }
  // Whether the fault has struck since then.
  bool struck() const { return struck_; }
  // How many calls have come to files since the fault struck.
  int64_t calls_since() const { return calls_since_; }

 private:
  friend struct FaultVfsFiles;

  // One write that may not be on the disk.
  struct Unsynced {
    std::filesystem::path path;
    int64_t offset = 0;
    std::vector<char> before;  // Of the bytes that were there.
    std::vector<char> after;
    int64_t size_before = 0;
    int64_t size_after = 0;
  };

  enum class Verdict { kDo, kHalf, kFail, kFull, kPretend };

  Verdict Judge(bool is_sync);
  bool Dead();
  void Remember(Unsynced write) { unsynced_.push_back(std::move(write)); }
  void Synced(const std::filesystem::path& path);

  Fault fault_ = Fault::kNone;
  int64_t at_ = 0;
  int64_t writes_ = 0;
  int64_t reads_ = 0;
  int64_t calls_since_ = 0;
  bool struck_ = false;
  bool dead_ = false;
  std::vector<Unsynced> unsynced_;
};

}  // namespace fedtune::testing
