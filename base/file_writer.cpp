// SPDX-License-Identifier: Apache-2.0

#include "base/file_writer.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "base/fail_point.h"
#include "base/files.h"
#include "base/status_macros.h"
#include "base/units.h"
#include "fmt/format.h"

namespace fedtune {

absl::StatusOr<FileWriter> FileWriter::Create(const std::filesystem::path& path, uint64_t size) {
  std::filesystem::path temporary = path;
  temporary += fmt::format(".{}{}", ::getpid(), kPartialSuffix);
  const int fd = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0) return ErrnoToStatus(errno, "create", temporary);
  FileWriter writer(fd, path, std::move(temporary));
  RETURN_IF_ERROR(writer.TakeSpace(size));
  return writer;
}

FileWriter::~FileWriter() {
  if (fd_ < 0) return;
  ::close(fd_);
  ::unlink(temporary_.c_str());
}

absl::Status FileWriter::TakeSpace(uint64_t size) {
  if (size == 0 || ::fallocate(fd_, 0, 0, static_cast<off_t>(size)) == 0 || errno == EOPNOTSUPP) {
    return absl::OkStatus();
  }
  return ErrnoToStatus(errno, fmt::format("write {} to", HumanBytes(size)), path_);
}

absl::Status FileWriter::Write(std::span<const uint8_t> bytes) {
  return WriteAll(fd_, std::as_bytes(bytes), path_);
}

absl::Status FileWriter::Commit() && {
  RETURN_IF_ERROR(CheckFailPoint(FailPoint::kFileSync));
  if (::fdatasync(fd_) != 0) return ErrnoToStatus(errno, "sync", path_);
  RETURN_IF_ERROR(CheckFailPoint(FailPoint::kFileRename));
  if (::rename(temporary_.c_str(), path_.c_str()) != 0) {
    return ErrnoToStatus(errno, "rename to", path_);
  }
  ReachFailPoint(FailPoint::kFileRenamed);
  ::close(std::exchange(fd_, -1));
  return SyncDirectory(path_.parent_path());
}

}  // namespace fedtune
