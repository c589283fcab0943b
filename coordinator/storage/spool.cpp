// SPDX-License-Identifier: Apache-2.0

#include "coordinator/storage/spool.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <optional>
#include <system_error>

#include "base/fail_point.h"
#include "base/files.h"
#include "base/status_macros.h"
#include "base/units.h"
#include "fmt/format.h"

namespace fedtune {
namespace {

constexpr std::string_view kUnique = "XXXXXX";

// Between the name of a file with several things in it and where one of them begins.
constexpr char kPlace = '+';

struct Place {
  std::string_view file;
  std::optional<uint64_t> begin;  // None: that is no number.
};

Place PlaceOf(std::string_view name) {
  const size_t at = name.find(kPlace);
  if (at == name.npos) return {.file = name, .begin = 0};
  uint64_t begin = 0;
  const std::string_view digits = name.substr(at + 1);
  const auto [end, error] = std::from_chars(digits.begin(), digits.end(), begin);
  const bool is_number = error == std::errc() && end == digits.end();
  return {.file = name.substr(0, at), .begin = is_number ? std::optional(begin) : std::nullopt};
}

std::string PrefixOf(std::string_view run) { return fmt::format("{}.", run); }

using NameSet = std::set<std::string, std::less<>>;

// In which files these lie.
NameSet FilesOf(const std::set<std::string>& names) {
  NameSet files;
  for (const std::string& name : names) files.emplace(PlaceOf(name).file);
  return files;
}

// Whether no other call has the file, and it has a name still: the one that had it
// may have removed it before this one could lock it.
bool TakesOver(int fd) {
  struct stat status;
  return ::flock(fd, LOCK_EX | LOCK_NB) == 0 && ::fstat(fd, &status) == 0 && status.st_nlink > 0;
}

// Whether no call is writing it any more.
bool IsLeft(const std::filesystem::path& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  if (fd < 0) return false;
  const bool is_left = TakesOver(fd);
  ::close(fd);
  return is_left;
}

}  // namespace

SpoolFile::SpoolFile(SpoolFile&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)),
      path_(std::move(other.path_)),
      at_end_(other.at_end_),
      is_kept_(other.is_kept_),
      begin_(other.begin_) {}

SpoolFile& SpoolFile::operator=(SpoolFile&& other) noexcept {
  std::swap(fd_, other.fd_);
  std::swap(path_, other.path_);
  std::swap(at_end_, other.at_end_);
  std::swap(is_kept_, other.is_kept_);
  std::swap(begin_, other.begin_);
  return *this;
}

SpoolFile::~SpoolFile() {
  if (fd_ < 0) return;
  if (at_end_ == AtEnd::kRemoved) ::unlink(path_.c_str());
  ::close(fd_);
}

absl::Status SpoolFile::Write(uint64_t offset, std::span<const std::byte> bytes) {
  RETURN_IF_ERROR(CheckFailPoint(FailPoint::kSpoolWrite));
  return WriteAt(fd_, offset, bytes, path_);
}

absl::Status SpoolFile::Read(uint64_t offset, std::span<std::byte> bytes) const {
  return ReadAt(fd_, offset + begin_, bytes, path_);
}

absl::Status SpoolFile::Keep() {
  RETURN_IF_ERROR(CheckFailPoint(FailPoint::kSpoolSync));
  // A second sync may succeed although the pages of one that failed are gone. What was
  // kept before is there.
  if (!is_kept_) at_end_ = AtEnd::kRemoved;
  if (::fdatasync(fd_) != 0) return ErrnoToStatus(errno, "sync", path_);
  if (!is_kept_) RETURN_IF_ERROR(SyncDirectory(path_.parent_path()));
  is_kept_ = true;
  at_end_ = AtEnd::kStays;
  ReachFailPoint(FailPoint::kSpoolKept);
  return absl::OkStatus();
}

void SpoolFile::Remove() {
  ::unlink(path_.c_str());
  at_end_ = AtEnd::kStays;
}

absl::StatusOr<Spool> Spool::Open(const std::filesystem::path& directory) {
  RETURN_IF_ERROR(MakeDirectories(directory));
  if (::chmod(directory.c_str(), S_IRWXU) != 0) return ErrnoToStatus(errno, "protect", directory);
  return Spool(directory);
}

absl::StatusOr<uint64_t> SpoolFile::Size() const {
  struct stat status;
  if (::fstat(fd_, &status) != 0) return ErrnoToStatus(errno, "open", path_);
  return static_cast<uint64_t>(status.st_size);
}

absl::Status SpoolFile::Truncate(uint64_t size) {
  if (::ftruncate(fd_, static_cast<off_t>(size)) == 0) return absl::OkStatus();
  return ErrnoToStatus(errno, "cut off", path_);
}

absl::Status SpoolFile::Reserve(uint64_t begin, uint64_t size) {
  RETURN_IF_ERROR(CheckFailPoint(FailPoint::kSpoolCreate));
  const bool taken = size == 0 ||
                     ::fallocate(fd_, FALLOC_FL_KEEP_SIZE, static_cast<off_t>(begin),
                                 static_cast<off_t>(size)) == 0 ||
                     errno == EOPNOTSUPP;
  if (taken) return absl::OkStatus();
  return ErrnoToStatus(errno, fmt::format("take {} in", HumanBytes(size)), path_.parent_path());
}

// Where it fails, the space is taken until it is written again or the file goes.
void SpoolFile::LetGo(uint64_t begin, uint64_t size) {
  static_cast<void>(::fallocate(fd_, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE,
                                static_cast<off_t>(begin), static_cast<off_t>(size)));
}

absl::StatusOr<SpoolFile> Spool::Create(std::string_view run, uint64_t size) const {
  std::string path = (directory_ / (PrefixOf(run) + std::string(kUnique))).string();
  const int fd = ::mkostemp(path.data(), O_CLOEXEC);
  if (fd < 0) return ErrnoToStatus(errno, "create a file in", directory_);
  SpoolFile file(fd, path, SpoolFile::AtEnd::kRemoved);
  RETURN_IF_ERROR(file.Reserve(0, size));
  return file;
}

absl::StatusOr<SpoolFile> Spool::CreateOrGoOn(std::string_view run, std::string_view slot,
                                              std::string_view content, uint64_t size) const {
  const std::string prefix = fmt::format("{}{}.", PrefixOf(run), slot);
  const std::string name = prefix + std::string(content);
  const std::filesystem::path path = directory_ / name;
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, S_IRUSR | S_IWUSR);
  if (fd < 0) return ErrnoToStatus(errno, "create a file in", directory_);
  SpoolFile file(fd, path, SpoolFile::AtEnd::kStays);
  if (!TakesOver(fd)) return Create(run, size);
  RemoveIf([&](const std::string& other) {
    return other.starts_with(prefix) && other != name && IsLeft(directory_ / other);
  });
  ASSIGN_OR_RETURN(const uint64_t there, file.Size());
  if (there > size) RETURN_IF_ERROR(file.Truncate(0));
  const absl::Status reserved = file.Reserve(0, size);
  if (!reserved.ok()) {
    file.Discard();
    return reserved;
  }
  return file;
}

std::string Spool::NameIn(const SpoolFile& file, uint64_t begin) {
  return fmt::format("{}{}{}", file.name(), kPlace, begin);
}

absl::StatusOr<SpoolFile> Spool::Find(std::string_view name, uint64_t size) const {
  const auto [file_name, begin] = PlaceOf(name);
  const std::filesystem::path path = directory_ / file_name;
  const absl::Status no_name =
      absl::NotFoundError(fmt::format("\"{}\" is not the name of a file in a spool", name));
  if (path.parent_path() != directory_ || path.filename() != file_name) return no_name;
  if (!begin.has_value()) return no_name;
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  if (fd < 0) return ErrnoToStatus(errno, "open", path);
  SpoolFile file(fd, path, SpoolFile::AtEnd::kStays);
  if (!std::filesystem::is_regular_file(path)) return no_name;
  ASSIGN_OR_RETURN(const uint64_t there, file.Size());
  file.begin_ = *begin;
  const bool is_alone = file_name.size() == name.size();
  if (is_alone ? there == size : *begin <= there && size <= there - *begin) return file;
  return absl::DataLossError(
      fmt::format("{} has {} bytes, expected {}", path.string(), there, *begin + size));
}

absl::StatusOr<KeptBytes> Spool::FindTogether(std::string_view name, uint64_t size,
                                              OpenFiles& open) const {
  ASSIGN_OR_RETURN(SpoolFile file, Find(name, size));
  const uint64_t begin = std::exchange(file.begin_, 0);
  std::shared_ptr<const SpoolFile>& shared = open[file.name()];
  if (shared == nullptr) shared = std::make_shared<const SpoolFile>(std::move(file));
  return KeptBytes{std::string(name), shared, begin};
}

void Spool::RemoveIf(const std::function<bool(const std::string&)>& unwanted) const {
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(directory_, error)) {
    if (unwanted(entry.path().filename().string())) ::unlink(entry.path().c_str());
  }
}

void Spool::Remove(std::string_view run, const std::set<std::string>& wanted,
                   std::string_view slots) const {
  const std::string prefix = PrefixOf(run);
  const NameSet wanted_files = FilesOf(wanted);
  RemoveIf([&](const std::string& name) {
    const bool left = !slots.empty() && name.starts_with(prefix + std::string(slots));
    return name.starts_with(prefix) && !wanted_files.contains(name) && !left;
  });
}

// A name that begins with a dot is of no run: RemoveAllBut() finds what is left of it.
std::function<void()> Spool::SetAside(std::string_view run,
                                      const std::set<std::string>& wanted) const {
  const std::string prefix = PrefixOf(run);
  const NameSet wanted_files = FilesOf(wanted);
  std::vector<std::filesystem::path> aside;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(directory_, error)) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with(prefix) || wanted_files.contains(name)) continue;
    std::filesystem::path unnamed = directory_ / ("." + name);
    if (::rename(entry.path().c_str(), unnamed.c_str()) == 0) aside.push_back(std::move(unnamed));
  }
  return [aside = std::move(aside)] {
    for (const std::filesystem::path& path : aside) ::unlink(path.c_str());
  };
}

absl::Status Spool::RemoveAllBut(const std::set<std::string>& runs) const {
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(directory_, error)) {
    const std::string name = entry.path().filename().string();
    if (runs.contains(name.substr(0, name.find('.')))) continue;
    if (::unlink(entry.path().c_str()) != 0) return ErrnoToStatus(errno, "remove", entry.path());
  }
  if (error) return ErrnoToStatus(error.value(), "list", directory_);
  return absl::OkStatus();
}

}  // namespace fedtune
