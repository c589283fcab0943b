// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <string>
#include <system_error>

namespace fedtune::testing {

// A disk of its own, in a file in `folder`, that can be made to fail; for the thread that
// asked for it alone and as long as this lives.
class FailingDisk {
 public:
  explicit FailingDisk(const std::filesystem::path& folder)
      : path_(folder / "disk"),
        stands_(std::filesystem::create_directory(path_) && ::unshare(CLONE_NEWNS) == 0 &&
                ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
                Run("truncate -s 16M '" + path_.string() + ".img'") &&
                Run("mkfs.ext4 -q '" + path_.string() + ".img'") &&
                Run("mount -o loop,errors=remount-ro '" + path_.string() + ".img' '" +
                    path_.string() + "'")) {}
  FailingDisk(const FailingDisk&) = delete;
  FailingDisk& operator=(const FailingDisk&) = delete;
  ~FailingDisk() {
    if (stands_) ::umount(path_.c_str());
  }

  // False where no such disk may be made.
  bool stands() const { return stands_; }

  const std::filesystem::path& path() const { return path_; }

  // Linux takes note of an error of the disk, and lets nobody write it any more. False where
  // it cannot be told of one.
  bool Fail() const {
    struct stat status = {};
    if (!stands_ || ::stat(path_.c_str(), &status) != 0) return false;
    const std::string number =
        std::to_string(major(status.st_dev)) + ":" + std::to_string(minor(status.st_dev));
    std::error_code error;
    const std::string device =
        std::filesystem::canonical("/sys/dev/block/" + number, error).filename();
    if (error || !device.starts_with("loop")) return false;
    const int fd = ::open(("/sys/fs/ext4/" + device + "/trigger_fs_error").c_str(), O_WRONLY);
    if (fd < 0) return false;
    const bool told = ::write(fd, "test", 4) == 4;
    ::close(fd);
    return told;
  }

 private:
  static bool Run(const std::string& command) {
    return std::system(("PATH=$PATH:/usr/sbin:/sbin; " + command + " >/dev/null 2>&1").c_str()) ==
           0;
  }

  const std::filesystem::path path_;
  const bool stands_;
};

}  // namespace fedtune::testing
