// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <sched.h>
#include <sys/mount.h>

#include <filesystem>
#include <utility>

namespace fedtune::testing {

// A folder whose disk has become read-only, for the thread that asked for it alone and as
// long as this lives.
class ReadOnlyMount {
 public:
  explicit ReadOnlyMount(const std::filesystem::path& folder) : ReadOnlyMount(folder, folder) {}

  // Another folder by which that one can only be read.
  ReadOnlyMount(const std::filesystem::path& of, std::filesystem::path folder)
      : folder_(std::move(folder)),
        stands_(::unshare(CLONE_NEWNS) == 0 &&
                ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
                ::mount(of.c_str(), folder_.c_str(), nullptr, MS_BIND, nullptr) == 0 &&
                ::mount(nullptr, folder_.c_str(), nullptr, MS_REMOUNT | MS_BIND | MS_RDONLY,
                        nullptr) == 0) {}
  ReadOnlyMount(const ReadOnlyMount&) = delete;
  ReadOnlyMount& operator=(const ReadOnlyMount&) = delete;
  ~ReadOnlyMount() {
    if (stands_) ::umount(folder_.c_str());
  }

  // False where nothing may be mounted.
  bool stands() const { return stands_; }

 private:
  const std::filesystem::path folder_;
  const bool stands_;
};

}  // namespace fedtune::testing
