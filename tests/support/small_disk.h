// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <sched.h>
#include <sys/mount.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <system_error>

namespace fedtune::testing {

// A disk of its own in `folder`, of `bytes` in memory, for the thread that asked for it alone
// and as long as this lives.
class SmallDisk {
 public:
  SmallDisk(const std::filesystem::path& folder, std::string_view bytes)
      : path_(folder / "disk"),
        stands_(std::filesystem::create_directory(path_) && ::unshare(CLONE_NEWNS) == 0 &&
                ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
                ::mount("tmpfs", path_.c_str(), "tmpfs", 0,
                        ("size=" + std::string(bytes)).c_str()) == 0) {}
  SmallDisk(const SmallDisk&) = delete;
  SmallDisk& operator=(const SmallDisk&) = delete;
  ~SmallDisk() {
    if (stands_) ::umount(path_.c_str());
  }

  // False where nothing may be mounted.
  bool stands() const { return stands_; }

  const std::filesystem::path& path() const { return path_; }

  // Takes all of the space that is left, and gives it back.
  void Fill() const {
    std::ofstream ballast(path_ / kBallast, std::ios::binary);
    const std::string piece(4096, 'x');
    while (ballast.write(piece.data(), static_cast<std::streamsize>(piece.size())).flush()) {
    }
  }
  void Empty() const {
    std::error_code was_not_full;
    std::filesystem::remove(path_ / kBallast, was_not_full);
  }

 private:
  static constexpr char kBallast[] = "ballast";

  const std::filesystem::path path_;
  const bool stands_;
};

}  // namespace fedtune::testing
