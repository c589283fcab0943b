// SPDX-License-Identifier: Apache-2.0

#include "tests/support/fault_vfs.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <unistd.h>

#include <algorithm>
#include <new>
#include <string>
#include <utility>

#include "base/check.h"
#include "base/sqlite/vfs_below.h"

namespace fedtune::testing {
namespace {

FaultVfs* installed = nullptr;
sqlite3_vfs* real_vfs = nullptr;

// SQLite's own file lies behind it.
struct FaultFile {
  sqlite3_file base;
  std::string* path;
};

FaultFile& Self(sqlite3_file* file) { return *reinterpret_cast<FaultFile*>(file); }

int64_t SizeOf(sqlite3_file* file) {
  sqlite3_int64 size = 0;
  PassDown<FaultFile, &sqlite3_io_methods::xFileSize>(file, &size);
  return size;
}

std::vector<char> BytesAt(sqlite3_file* file, int64_t offset, int64_t end) {
  const int64_t size = std::max<int64_t>(std::min(end, SizeOf(file)) - offset, 0);
  std::vector<char> bytes(static_cast<size_t>(size));
  if (size > 0) {
    PassDown<FaultFile, &sqlite3_io_methods::xRead>(file, static_cast<void*>(bytes.data()),
                                                    static_cast<int>(size), sqlite3_int64{offset});
  }
  return bytes;
}

void Put(int fd, const std::vector<char>& bytes, int64_t offset, int64_t size) {
  const ssize_t put = ::pwrite(fd, bytes.data(), bytes.size(), offset);
  Check(put == std::ssize(bytes) && ::ftruncate(fd, size) == 0, "the test's disk has space");
}

}  // namespace

// What SQLite calls.
struct FaultVfsFiles {
  using Verdict = FaultVfs::Verdict;

  static int Write(sqlite3_file* file, const void* bytes, int size, sqlite3_int64 offset) {
    Verdict verdict = installed->Judge(false);
    if (verdict == Verdict::kFail) return SQLITE_IOERR_WRITE;
    if (verdict == Verdict::kFull) return SQLITE_FULL;
    const int arrives = verdict == Verdict::kHalf ? size / 2 : size;
    FaultVfs::Unsynced write{
        .path = *Self(file).path,
        .offset = offset,
        .before = BytesAt(file, offset, offset + arrives),
        .after = {static_cast<const char*>(bytes), static_cast<const char*>(bytes) + arrives},
        .size_before = SizeOf(file),
        .size_after = 0};
    const int code = PassDown<FaultFile, &sqlite3_io_methods::xWrite>(file, bytes, arrives, offset);
    write.size_after = SizeOf(file);
    installed->Remember(std::move(write));
    return verdict == Verdict::kHalf ? SQLITE_IOERR_WRITE : code;
  }

  static int Truncate(sqlite3_file* file, sqlite3_int64 size) {
    const Verdict verdict = installed->Judge(false);
    if (verdict != Verdict::kDo && verdict != Verdict::kFull) return SQLITE_IOERR_TRUNCATE;
    FaultVfs::Unsynced write{.path = *Self(file).path,
                             .offset = size,
                             .before = BytesAt(file, size, SizeOf(file)),
                             .after = {},
                             .size_before = SizeOf(file),
                             .size_after = size};
    installed->Remember(std::move(write));
    return PassDown<FaultFile, &sqlite3_io_methods::xTruncate>(file, size);
  }

  // What power cuts take away is decided here: the real disk need not be waited for.
  static int Sync(sqlite3_file* file, int) {
    const Verdict verdict = installed->Judge(true);
    if (verdict == Verdict::kFail || verdict == Verdict::kHalf) return SQLITE_IOERR_FSYNC;
    if (verdict == Verdict::kPretend) return SQLITE_OK;
    installed->Synced(*Self(file).path);
    return SQLITE_OK;
  }

  static int Read(sqlite3_file* file, void* bytes, int size, sqlite3_int64 offset) {
    if (installed->Dead()) return SQLITE_IOERR_READ;
    ++installed->reads_;
    return PassDown<FaultFile, &sqlite3_io_methods::xRead>(file, bytes, size, offset);
  }

  static int Close(sqlite3_file* file) {
    const int code = PassDown<FaultFile, &sqlite3_io_methods::xClose>(file);
    delete Self(file).path;
    return code;
  }

  static int Delete(sqlite3_vfs*, const char* name, int) {
    if (installed->Dead()) return SQLITE_IOERR_DELETE;
    installed->Synced(name);
    return real_vfs->xDelete(real_vfs, name, 0);
  }

  static int Open(sqlite3_vfs*, const char* name, sqlite3_file* file, int flags, int* out_flags);
};

namespace {

constexpr sqlite3_io_methods Methods() {
  sqlite3_io_methods methods = kPassingMethods<FaultFile>;
  methods.xClose = FaultVfsFiles::Close;
  methods.xRead = FaultVfsFiles::Read;
  methods.xWrite = FaultVfsFiles::Write;
  methods.xTruncate = FaultVfsFiles::Truncate;
  methods.xSync = FaultVfsFiles::Sync;
  return methods;
}

constexpr sqlite3_io_methods kMethods = Methods();

}  // namespace

int FaultVfsFiles::Open(sqlite3_vfs*, const char* name, sqlite3_file* file, int flags,
                        int* out_flags) {
  file->pMethods = nullptr;
  if (installed->Dead()) return SQLITE_CANTOPEN;
  FaultFile& self = *new (file) FaultFile{.base = {.pMethods = nullptr},
                                          .path = new std::string(name == nullptr ? "" : name)};
  sqlite3_file* const below = FileBelow<FaultFile>(file);
  const int code = real_vfs->xOpen(real_vfs, name, below, flags, out_flags);
  if (below->pMethods == nullptr) {
    delete self.path;
    return code;
  }
  self.base.pMethods = &kMethods;
  return code;
}

FaultVfs& FaultVfs::Install() {
  static FaultVfs faults;
  static sqlite3_vfs vfs = [] {
    real_vfs = sqlite3_vfs_find(nullptr);
    sqlite3_vfs made = *real_vfs;
    made.zName = "faults";
    made.szOsFile = static_cast<int>(sizeof(FaultFile)) + real_vfs->szOsFile;
    made.pNext = nullptr;
    made.xOpen = FaultVfsFiles::Open;
    made.xDelete = FaultVfsFiles::Delete;
    return made;
  }();
  static const int registered = sqlite3_vfs_register(&vfs, 1);
  Check(registered == SQLITE_OK, "the VFS is the default one");
  installed = &faults;
  return faults;
}

void FaultVfs::Arm(Fault fault, int64_t at) {
  fault_ = fault;
  at_ = at;
  writes_ = reads_ = calls_since_ = 0;
  struck_ = dead_ = false;
}

bool FaultVfs::Dead() {
  if (struck_) ++calls_since_;
  return dead_;
}

FaultVfs::Verdict FaultVfs::Judge(bool is_sync) {
  if (Dead()) return Verdict::kFail;
  const int64_t number = writes_++;
  if (fault_ == Fault::kNone || number < at_) return Verdict::kDo;
  switch (fault_) {
    case Fault::kNone:
      return Verdict::kDo;
    case Fault::kCrash:
    case Fault::kTornCrash:
      dead_ = struck_ = true;
      return fault_ == Fault::kTornCrash ? Verdict::kHalf : Verdict::kFail;
    case Fault::kIoError:
      return std::exchange(struck_, true) ? Verdict::kDo : Verdict::kFail;
    case Fault::kFull:
      struck_ = true;
      return is_sync ? Verdict::kDo : Verdict::kFull;
    case Fault::kLostSync:
      if (!is_sync || std::exchange(struck_, true)) return Verdict::kDo;
      return Verdict::kPretend;
  }
  return Verdict::kDo;
}

void FaultVfs::Synced(const std::filesystem::path& path) {
  std::erase_if(unsynced_, [&](const Unsynced& write) { return write.path == path; });
}

void FaultVfs::CutPower(Survivors survivors) {
  const std::vector<Unsynced> writes = std::exchange(unsynced_, {});
  const auto with_file = [](const Unsynced& write, auto change) {
    const int fd = ::open(write.path.c_str(), O_RDWR | O_CLOEXEC);
    if (fd < 0) return;  // It was deleted.
    change(fd);
    ::close(fd);
  };
  if (survivors == Survivors::kAll) return;
  for (auto write = writes.rbegin(); write != writes.rend(); ++write) {
    with_file(*write, [&](int fd) { Put(fd, write->before, write->offset, write->size_before); });
  }
  for (size_t i = 1; survivors == Survivors::kEveryOther && i < writes.size(); i += 2) {
    with_file(writes[i],
              [&](int fd) { Put(fd, writes[i].after, writes[i].offset, writes[i].size_after); });
  }
}

}  // namespace fedtune::testing
