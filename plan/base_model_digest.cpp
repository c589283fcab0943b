// SPDX-License-Identifier: Apache-2.0

#include "plan/base_model_digest.h"

#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <fstream>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "base/files.h"
#include "base/json.h"
#include "base/status_macros.h"
#include "fmt/format.h"
#include "model/checkpoint/checkpoint.h"
#include "privacy/crypto/sha256.h"

namespace fedtune {
namespace {

namespace fs = std::filesystem;

constexpr size_t kPieceBytes = 4 << 20;
constexpr std::string_view kHeading = "fedtune base model 2\n";
constexpr std::string_view kEarlierHeading = "fedtune base model 1\n";
constexpr std::array<std::string_view, 5> kNewlyCovered = {
    "added_tokens.json", "chat_template.jinja", kWeightsIndexFile, "special_tokens_map.json",
    "tokenizer_config.json"};

// How far the hashing of all files is.
struct Tally {
  const std::function<void(double)>& progress;
  uint64_t total = 0;
  uint64_t done = 0;

  void Add(uint64_t bytes) {
    done += bytes;
    progress(total == 0 ? 1 : static_cast<double>(done) / static_cast<double>(total));
  }
};

bool BelongedToModel(const fs::path& file) {
  return file.filename() == "config.json" || file.filename() == "tokenizer.json" ||
         file.extension() == ".safetensors";
}

bool BelongsToModel(const fs::path& file) {
  return BelongedToModel(file) || std::any_of(kNewlyCovered.begin(), kNewlyCovered.end(),
                                              [&](auto name) { return file.filename() == name; });
}

int64_t Nanoseconds(const timespec& time) {
  return int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

absl::StatusOr<ModelFile> Look(const fs::path& path) {
  struct stat file = {};
  if (::stat(path.c_str(), &file) != 0) return ErrnoToStatus(errno, "read", path);
  return ModelFile{.name = path.filename().string(),
                   .size = static_cast<uint64_t>(file.st_size),
                   .written_ns = Nanoseconds(file.st_mtim),
                   .changed_ns = Nanoseconds(file.st_ctim)};
}

absl::Status CheckComplete(const std::vector<ModelFile>& files, const fs::path& directory) {
  const auto has = [&](auto matches) { return std::any_of(files.begin(), files.end(), matches); };
  if (!has([](const ModelFile& file) { return file.name == "config.json"; })) {
    return absl::NotFoundError(fmt::format(
        "{} is not a model's folder: there is no config.json in it", directory.string()));
  }
  if (!has([](const ModelFile& file) { return file.name.ends_with(".safetensors"); })) {
    return absl::NotFoundError(
        fmt::format("{} has no weights: no *.safetensors file in it", directory.string()));
  }
  return absl::OkStatus();
}

// Whether every file is what its name says, and to its end, as far as headers tell.
absl::Status CheckWhole(const std::vector<ModelFile>& files, const fs::path& directory) {
  for (const ModelFile& file : files) {
    const fs::path path = directory / file.name;
    if (path.extension() == ".safetensors") {
      RETURN_IF_ERROR(SafetensorsFile::Open(path).status());
    } else if (path.extension() == ".json") {
      ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
      RETURN_IF_ERROR(ParseJson(text, path.string()).status());
    }
  }
  return Checkpoint::Open(directory).status();
}

absl::StatusOr<Digest> HashFile(const fs::path& path, uint64_t size, Tally& tally) {
  std::ifstream in(path, std::ios::binary);
  if (!in) return ErrnoToStatus(errno, "read", path);
  Sha256 hash;
  std::vector<char> piece(kPieceBytes);
  uint64_t read = 0;
  while (in) {
    in.read(piece.data(), static_cast<std::streamsize>(piece.size()));
    const auto got = static_cast<size_t>(in.gcount());
    hash.Update(std::string_view(piece.data(), got));
    read += got;
    tally.Add(got);
  }
  if (in.bad()) return ErrnoToStatus(EIO, "read", path);
  if (read != size) {
    return absl::InternalError(fmt::format("{} changed while it was read ({} bytes instead of {})",
                                           path.string(), read, size));
  }
  return std::move(hash).Finish();
}

}  // namespace

absl::StatusOr<std::vector<ModelFile>> ModelFilesIn(const fs::path& directory) {
  std::error_code error;
  std::vector<ModelFile> files;
  for (fs::directory_iterator entry(directory, error), end; !error && entry != end;
       entry.increment(error)) {
    if (!BelongsToModel(entry->path())) continue;
    ASSIGN_OR_RETURN(ModelFile file, Look(entry->path()));
    files.push_back(std::move(file));
  }
  if (error) return ErrnoToStatus(error.value(), "read the base model in", directory);
  std::sort(files.begin(), files.end(),
            [](const ModelFile& a, const ModelFile& b) { return a.name < b.name; });
  return files;
}

absl::StatusOr<BaseModelDigests> DigestBaseModel(const fs::path& directory,
                                                 const std::function<void(double)>& progress) {
  ASSIGN_OR_RETURN(const std::vector<ModelFile> files, ModelFilesIn(directory));
  RETURN_IF_ERROR(CheckComplete(files, directory));
  RETURN_IF_ERROR(CheckWhole(files, directory));
  Tally tally{.progress = progress};
  for (const ModelFile& file : files) tally.total += file.size;
  Sha256 hash, earlier;
  hash.Update(kHeading);
  earlier.Update(kEarlierHeading);
  for (const ModelFile& file : files) {
    ASSIGN_OR_RETURN(const Digest digest, HashFile(directory / file.name, file.size, tally));
    const std::string line = fmt::format("{} {} {}\n", file.name, file.size, digest.ToHex());
    hash.Update(line);
    if (BelongedToModel(file.name)) earlier.Update(line);
  }
  return BaseModelDigests{.digest = std::move(hash).Finish().ToString(),
                          .earlier = std::move(earlier).Finish().ToString()};
}

}  // namespace fedtune
