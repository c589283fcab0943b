// SPDX-License-Identifier: Apache-2.0

#include "tests/support/lossy_disk.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstdio>
#include <fstream>
#include <functional>
#include <set>
#include <sstream>
#include <utility>
#include <vector>

#include "base/check.h"

namespace fedtune::testing {
namespace {

namespace fs = std::filesystem;

constexpr size_t kSector = 512;

std::vector<LossyDisk*>& Disks() {
  static std::vector<LossyDisk*> disks;
  return disks;
}

// Where an open file lies, or lay.
fs::path PathOf(int fd) {
  std::array<char, PATH_MAX> target{};
  const std::string link = "/proc/self/fd/" + std::to_string(fd);
  const ssize_t size = ::readlink(link.c_str(), target.data(), target.size());
  return size <= 0 ? fs::path() : fs::path(std::string(target.data(), static_cast<size_t>(size)));
}

std::string ContentOf(const fs::path& path) {
  std::ostringstream content;
  content << std::ifstream(path, std::ios::binary).rdbuf();
  return std::move(content).str();
}

void WriteContent(const fs::path& path, const std::string& content) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file.write(content.data(), static_cast<std::streamsize>(content.size()));
  Check(file.flush().good(), "a file can be written");
}

bool Coin(std::mt19937_64& random) { return (random() & 1) != 0; }

// What may be there of a file of which `synced` is on the disk and `now` was to be.
std::string Torn(const std::string& synced, const std::string& now, std::mt19937_64& random) {
  switch (random() % 4) {
    case 0:
      return synced;
    case 1:
      return now;
    default:
      break;
  }
  std::string torn((Coin(random) ? synced : now).size(), '\0');
  for (size_t begin = 0; begin < torn.size(); begin += kSector) {
    const std::string& source = Coin(random) ? synced : now;
    if (begin >= source.size()) continue;
    const size_t end = std::min({begin + kSector, torn.size(), source.size()});
    std::copy(source.begin() + static_cast<std::ptrdiff_t>(begin),
              source.begin() + static_cast<std::ptrdiff_t>(end),
              torn.begin() + static_cast<std::ptrdiff_t>(begin));
  }
  return torn;
}

}  // namespace

LossyDisk::LossyDisk(const fs::path& folder) : folder_(fs::canonical(folder)) {
  Forget();
  Disks().push_back(this);
}

LossyDisk::~LossyDisk() { std::erase(Disks(), this); }

void LossyDisk::FailAt(int64_t at, int error) {
  Heal();
  at_ = at;
  error_ = error;
}

void LossyDisk::DieAt(int64_t at) {
  FailAt(at, EIO);
  dies_ = true;
}

void LossyDisk::Heal() {
  at_ = -1;
  dies_ = loses_syncs_ = struck_ = false;
  operations_ = 0;
}

LossyDisk* LossyDisk::Of(int fd) {
  if (Disks().empty()) return nullptr;
  const fs::path path = PathOf(fd);
  const auto found = std::find_if(Disks().begin(), Disks().end(),
                                  [&](const LossyDisk* disk) { return disk->Holds(path); });
  return found == Disks().end() ? nullptr : *found;
}

LossyDisk* LossyDisk::Of(const char* path) {
  if (Disks().empty()) return nullptr;
  std::error_code ignored;
  const fs::path full = fs::weakly_canonical(path, ignored);
  const auto found = std::find_if(Disks().begin(), Disks().end(),
                                  [&](const LossyDisk* disk) { return disk->Holds(full); });
  return found == Disks().end() ? nullptr : *found;
}

bool LossyDisk::Holds(const fs::path& path) const {
  const auto [end, unused] =
      std::mismatch(folder_.begin(), folder_.end(), path.begin(), path.end());
  return end == folder_.end();
}

LossyDisk::Verdict LossyDisk::Judge() {
  const int64_t number = operations_++;
  if (at_ < 0 || number < at_ || (number > at_ && !dies_)) return Verdict::kDo;
  struck_ = true;
  errno = error_;
  return dies_ && number == at_ ? Verdict::kHalf : Verdict::kFail;
}

std::shared_ptr<LossyDisk::Image> LossyDisk::ImageOf(const fs::path& path) {
  struct statx status {};
  const int found = ::statx(AT_FDCWD, path.c_str(), 0, STATX_INO | STATX_BTIME, &status);
  Check(found == 0, "a file that is there can be looked at");
  const FileId id(status.stx_ino, status.stx_btime.tv_sec * 1'000'000'000 +
                                      static_cast<int64_t>(status.stx_btime.tv_nsec));
  std::shared_ptr<Image>& image = images_[id];
  if (image == nullptr) image = std::make_shared<Image>();
  return image;
}

LossyDisk::Names LossyDisk::NamesNow() {
  Names names;
  for (const auto& entry : fs::recursive_directory_iterator(folder_)) {
    if (entry.is_regular_file()) names[entry.path()] = ImageOf(entry.path());
  }
  return names;
}

void LossyDisk::Forget() {
  images_.clear();
  names_ = NamesNow();
  for (const auto& [path, image] : names_) image->bytes = ContentOf(path);
}

void LossyDisk::Synced(int fd) {
  const fs::path path = PathOf(fd);
  if (!fs::is_directory(path)) {
    const fs::path open = "/proc/self/fd/" + std::to_string(fd);
    const std::shared_ptr<Image> image = ImageOf(open);
    if (!image->sync_has_failed) image->bytes = ContentOf(open);
    return;
  }
  std::erase_if(names_, [&](const auto& name) { return name.first.parent_path() == path; });
  for (auto& [name, image] : NamesNow()) {
    if (name.parent_path() == path) names_[name] = std::move(image);
  }
}

void LossyDisk::CutPower(uint64_t seed) {
  std::mt19937_64 random(seed);
  const Names now = NamesNow();
  std::set<fs::path> paths;
  for (const auto& [path, image] : now) paths.insert(path);
  for (const auto& [path, image] : names_) paths.insert(path);
  std::map<fs::path, std::string> left;
  for (const fs::path& path : paths) {
    const auto old = names_.find(path);
    const auto current = now.find(path);
    const bool both = old != names_.end() && current != now.end();
    const bool is_synced = both && old->second == current->second;
    // Of what has changed and was not synced, the one or the other.
    const Names& source = is_synced || Coin(random) ? now : names_;
    const auto chosen = source.find(path);
    if (chosen == source.end()) continue;
    const std::string& synced = chosen->second->bytes;
    left[path] = &source == &now ? Torn(synced, ContentOf(path), random) : synced;
  }
  for (const auto& [path, image] : now) {
    Check(::syscall(SYS_unlink, path.c_str()) == 0, "a file can be removed");
  }
  Heal();
  for (const auto& [path, content] : left) WriteContent(path, content);
  Forget();
}

// What the calls do.
struct LossyCalls {
  // A call that fails, or is done.
  template <typename File, typename... Arguments>
  static int Do(File file, long number, Arguments... arguments) {
    LossyDisk* disk = LossyDisk::Of(file);
    if (disk != nullptr && disk->Judge() != LossyDisk::Verdict::kDo) return -1;
    return static_cast<int>(::syscall(number, file, arguments...));
  }

  static ssize_t Write(int fd, size_t size, const std::function<ssize_t(size_t)>& write) {
    LossyDisk* disk = LossyDisk::Of(fd);
    if (disk == nullptr) return write(size);
    const LossyDisk::Verdict verdict = disk->Judge();
    if (verdict == LossyDisk::Verdict::kDo) return write(size);
    const int error = errno;
    if (verdict == LossyDisk::Verdict::kHalf) write(size / 2);
    errno = error;
    return -1;
  }

  static int Sync(int fd, long number) {
    LossyDisk* disk = LossyDisk::Of(fd);
    const auto sync = [&] { return static_cast<int>(::syscall(number, fd)); };
    if (disk == nullptr) return sync();
    if (disk->Judge() != LossyDisk::Verdict::kDo) {
      const int error = errno;
      disk->ImageOf("/proc/self/fd/" + std::to_string(fd))->sync_has_failed = true;
      errno = error;
      return -1;
    }
    // Nobody cuts the power of this machine.
    if (!disk->SyncIsLost()) disk->Synced(fd);
    return 0;
  }
};

}  // namespace fedtune::testing

using fedtune::testing::LossyCalls;

// In place of the C library's.
extern "C" {

ssize_t write(int fd, const void* bytes, size_t size) {
  return LossyCalls::Write(fd, size,
                           [&](size_t part) { return ::syscall(SYS_write, fd, bytes, part); });
}
ssize_t pwrite(int fd, const void* bytes, size_t size, off_t offset) {
  return LossyCalls::Write(
      fd, size, [&](size_t part) { return ::syscall(SYS_pwrite64, fd, bytes, part, offset); });
}
int ftruncate(int fd, off_t size) noexcept { return LossyCalls::Do(fd, SYS_ftruncate, size); }
int fallocate(int fd, int mode, off_t offset, off_t size) {
  return LossyCalls::Do(fd, SYS_fallocate, mode, offset, size);
}
int rename(const char* from, const char* to) noexcept {
  return LossyCalls::Do(from, SYS_rename, to);
}
int unlink(const char* path) noexcept { return LossyCalls::Do(path, SYS_unlink); }
int fsync(int fd) { return LossyCalls::Sync(fd, SYS_fsync); }
int fdatasync(int fd) { return LossyCalls::Sync(fd, SYS_fdatasync); }
}
