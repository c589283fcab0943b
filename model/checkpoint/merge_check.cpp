// SPDX-License-Identifier: Apache-2.0

#include "model/checkpoint/merge_check.h"

#include <algorithm>
#include <cstdint>
#include <map>
#include <string>
#include <system_error>

#include "base/check.h"
#include "base/files.h"
#include "base/status_macros.h"
#include "fmt/format.h"
#include "model/checkpoint/checkpoint.h"
#include "model/checkpoint/merge_plan.h"
#include "model/checkpoint/merged_files.h"
#include "model/checkpoint/merged_tensor.h"

namespace fedtune {
namespace {

namespace fs = std::filesystem;

absl::Status Differs(std::string_view what) {
  return absl::AbortedError(
      fmt::format("{}: not what the base model and the adapter come to", what));
}

// Compares what is made of a tensor with what is there.
class TensorComparison {
 public:
  TensorComparison(const TensorInfo& expected, const TensorView& found)
      : expected_(expected), found_(found) {}

  absl::Status Begin() const {
    if (found_.type == expected_.type && found_.shape == expected_.shape) return absl::OkStatus();
    return Differs(fmt::format("type or shape of tensor {}", found_.name));
  }

  absl::Status Next(std::span<const std::byte> made) {
    const auto there = found_.bytes.subspan(compared_, made.size());
    const auto [at, ignored] = std::ranges::mismatch(made, there);
    if (at != made.end()) {
      const auto byte = static_cast<int64_t>(compared_) + (at - made.begin());
      return Differs(fmt::format("tensor {} from value {} on", found_.name,
                                 byte / BytesPerValue(expected_.type)));
    }
    MappedFile::Release(there);
    compared_ += made.size();
    return absl::OkStatus();
  }

 private:
  const TensorInfo& expected_;
  const TensorView& found_;
  size_t compared_ = 0;
};

// "format" and the like, by which programs choose how to read the tensors.
absl::Status CompareMetadata(const Checkpoint& base, const Checkpoint& merged) {
  for (const SafetensorsFile& shard : merged.shards()) {
    const auto of_base = std::ranges::find_if(base.shards(), [&](const SafetensorsFile& other) {
      return other.path().filename() == shard.path().filename();
    });
    if (of_base != base.shards().end() && of_base->metadata() == shard.metadata()) continue;
    return Differs(fmt::format("metadata of {}", shard.path().filename().string()));
  }
  return absl::OkStatus();
}

// All tensors of the merged checkpoint.
class CheckpointComparison {
 public:
  CheckpointComparison(const Checkpoint& base, const MergePlan& plan, const Checkpoint& merged)
      : base_(base), plan_(plan), merged_(merged) {
    for (const SafetensorsFile& shard : base.shards()) {
      for (const TensorInfo& tensor : plan.TensorsOf(shard)) {
        total_ += ByteCount(tensor);
        expected_[tensor.name] = tensor;
      }
    }
  }

  absl::Status Run(const std::function<void(double)>& progress) {
    for (const SafetensorsFile& shard : merged_.shards()) {
      for (const TensorView& tensor : shard.tensors()) {
        if (!expected_.contains(tensor.name)) {
          return Differs(fmt::format("tensor {}, which is one more", tensor.name));
        }
      }
    }
    for (const SafetensorsFile& shard : base_.shards()) {
      for (const TensorView& tensor : shard.tensors()) {
        if (plan_.Drops(tensor.name)) continue;
        RETURN_IF_ERROR(Compare(tensor, progress));
      }
    }
    return absl::OkStatus();
  }

 private:
  absl::Status Compare(const TensorView& tensor, const std::function<void(double)>& progress) {
    const TensorView* found = merged_.Find(tensor.name);
    if (found == nullptr) return Differs(fmt::format("tensor {}, which is missing", tensor.name));
    TensorComparison comparison(expected_.at(tensor.name), *found);
    RETURN_IF_ERROR(comparison.Begin());
    return MakeMergedTensor(base_, plan_, tensor, [&](std::span<const std::byte> bytes) {
      compared_ += static_cast<int64_t>(bytes.size());
      progress(static_cast<double>(compared_) / static_cast<double>(std::max<int64_t>(total_, 1)));
      return comparison.Next(bytes);
    });
  }

  const Checkpoint& base_;
  const MergePlan& plan_;
  const Checkpoint& merged_;
  std::map<std::string, TensorInfo> expected_;
  int64_t total_ = 0;
  int64_t compared_ = 0;
};

// Code or weights that a program would load beside the checkpoint's own.
absl::Status CheckNothingElse(const fs::path& merged,
                              const std::map<fs::path, MergedFile>& expected,
                              const Checkpoint& base) {
  const auto is_shard = [&](const fs::path& file) {
    return std::ranges::any_of(base.shards(), [&](const SafetensorsFile& shard) {
      return shard.path().filename() == file;
    });
  };
  std::error_code error;
  for (fs::recursive_directory_iterator entry(merged, error), end; !error && entry != end;
       entry.increment(error)) {
    const fs::path file = entry->path().lexically_relative(merged);
    if (entry->is_directory(error)) {
      if (!entry->is_symlink(error)) continue;
      return Differs(fmt::format("folder {}, which is a link", file.string()));
    }
    if (expected.contains(file) || is_shard(file)) continue;
    return Differs(fmt::format("file {}, which is one more", file.string()));
  }
  return error ? ErrnoToStatus(error.value(), "list", merged) : absl::OkStatus();
}

absl::Status CompareOtherFiles(const fs::path& merged,
                               const std::map<fs::path, MergedFile>& expected) {
  for (const auto& [name, source] : expected) {
    ASSIGN_OR_RETURN(const std::string content, source.Read());
    const absl::StatusOr<std::string> found = ReadFile(merged / name);
    if (absl::IsNotFound(found.status())) {
      return Differs(fmt::format("file {}, which is missing", name.string()));
    }
    RETURN_IF_ERROR(found.status());
    if (*found != content) return Differs(fmt::format("file {}", name.string()));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckMerged(const fs::path& base, const AdapterLayout& layout,
                         std::span<const float> values, const fs::path& merged,
                         const std::function<void(double fraction)>& progress) {
  Check(values.size() == static_cast<size_t>(layout.parameter_count()),
        "an adapter has as many values as its layout");
  ASSIGN_OR_RETURN(const Checkpoint checkpoint, Checkpoint::Open(base));
  ASSIGN_OR_RETURN(const MergePlan plan, MergePlan::Create(checkpoint, layout, values));
  ASSIGN_OR_RETURN(const auto others, OtherMergedFiles(base, plan));
  ASSIGN_OR_RETURN(const Checkpoint found, Checkpoint::Open(merged));
  RETURN_IF_ERROR(CheckNothingElse(merged, others, checkpoint));
  RETURN_IF_ERROR(CompareOtherFiles(merged, others));
  RETURN_IF_ERROR(CompareMetadata(checkpoint, found));
  return CheckpointComparison(checkpoint, plan, found).Run(progress);
}

}  // namespace fedtune
