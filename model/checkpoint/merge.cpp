// SPDX-License-Identifier: Apache-2.0

#include "model/checkpoint/merge.h"

#include <algorithm>
#include <bit>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/files.h"
#include "base/status_macros.h"
#include "base/units.h"
#include "fmt/format.h"
#include "model/checkpoint/checkpoint.h"
#include "model/checkpoint/merge_plan.h"
#include "model/checkpoint/merged_files.h"
#include "model/checkpoint/merged_tensor.h"
#include "model/checkpoint/safetensors_writer.h"
#include "model/checkpoint/staged_folder.h"

namespace fedtune {
namespace {

namespace fs = std::filesystem;

// Adds to how much has been written and tells it.
class Meter {
 public:
  Meter(int64_t total, int64_t written, const std::function<void(double)>& progress,
        const std::stop_token& stop)
      : total_(std::max<int64_t>(total, 1)), written_(written), progress_(progress), stop_(stop) {}

  // CANCELLED: nothing more is wanted.
  absl::Status Add(size_t bytes) {
    if (stop_.stop_requested()) return absl::CancelledError("stopped");
    written_ += static_cast<int64_t>(bytes);
    progress_(static_cast<double>(written_) / static_cast<double>(total_));
    return absl::OkStatus();
  }

 private:
  const int64_t total_;
  int64_t written_;
  const std::function<void(double)>& progress_;
  const std::stop_token& stop_;
};

absl::Status MergeShard(const Checkpoint& checkpoint, const SafetensorsFile& shard,
                        const MergePlan& plan, const fs::path& folder, Meter& meter) {
  ASSIGN_OR_RETURN(SafetensorsWriter writer,
                   SafetensorsWriter::Create(folder / shard.path().filename(),
                                             plan.TensorsOf(shard), shard.metadata()));
  const auto write = [&](std::span<const std::byte> bytes) -> absl::Status {
    RETURN_IF_ERROR(writer.Append(bytes));
    return meter.Add(bytes.size());
  };
  for (const TensorView& tensor : shard.tensors()) {
    if (plan.Drops(tensor.name)) continue;
    RETURN_IF_ERROR(MakeMergedTensor(checkpoint, plan, tensor, write));
  }
  return std::move(writer).Finish();
}

int64_t MergedBytes(const MergePlan& plan, const SafetensorsFile& shard) {
  int64_t bytes = 0;
  for (const TensorInfo& tensor : plan.TensorsOf(shard)) bytes += ByteCount(tensor);
  return bytes;
}

// Whether an earlier attempt has completed the shard: files get their names when
// they are synced.
bool IsMerged(const MergePlan& plan, const SafetensorsFile& shard, const fs::path& folder) {
  const auto file = SafetensorsFile::Open(folder / shard.path().filename());
  if (!file.ok()) return false;  // Then it is written again.
  const std::vector<TensorInfo> expected = plan.TensorsOf(shard);
  return std::equal(expected.begin(), expected.end(), file->tensors().begin(),
                    file->tensors().end(), [](const TensorInfo& info, const TensorView& tensor) {
                      return info.name == tensor.name && info.type == tensor.type &&
                             info.shape == tensor.shape;
                    });
}

// FNV-1a over words.
class Fingerprint {
 public:
  void Add(uint64_t word) { state_ = (state_ ^ word) * 0x100000001b3; }
  void Add(std::string_view text) {
    for (const char c : text) Add(static_cast<uint64_t>(static_cast<unsigned char>(c)));
    Add(text.size());
  }
  uint64_t state() const { return state_; }

 private:
  uint64_t state_ = 0xcbf29ce484222325;
};

// All that a merged checkpoint depends on: the adapter, and the base's files as far
// as their names, sizes and times tell.
absl::StatusOr<std::string> MarkOf(const Checkpoint& checkpoint, const AdapterLayout& layout,
                                   std::span<const float> values) {
  Fingerprint adapter, base;
  adapter.Add(layout.ToJson());
  for (const float value : values) adapter.Add(uint64_t{std::bit_cast<uint32_t>(value)});
  base.Add(fs::absolute(checkpoint.directory()).string());
  for (const SafetensorsFile& shard : checkpoint.shards()) {
    std::error_code error;
    const fs::file_time_type time = fs::last_write_time(shard.path(), error);
    if (error) return ErrnoToStatus(error.value(), "look at", shard.path());
    base.Add(shard.path().filename().string());
    base.Add(shard.file_size());
    base.Add(static_cast<uint64_t>(time.time_since_epoch().count()));
  }
  return fmt::format("merge 1: adapter {:016x}, base {:016x}\n", adapter.state(), base.state());
}

absl::Status WriteOtherFiles(const fs::path& base, const MergePlan& plan, const fs::path& folder) {
  ASSIGN_OR_RETURN(const auto files, OtherMergedFiles(base, plan));
  for (const auto& [name, source] : files) {
    ASSIGN_OR_RETURN(const std::string content, source.Read());
    RETURN_IF_ERROR(MakeDirectories((folder / name).parent_path()));
    RETURN_IF_ERROR(WriteFileAtomically(folder / name, content));
  }
  return absl::OkStatus();
}

absl::Status CheckSpace(const fs::path& folder, int64_t needed) {
  std::error_code error;
  const fs::space_info space = fs::space(folder, error);
  if (error || space.available >= static_cast<uint64_t>(needed)) return absl::OkStatus();
  return absl::ResourceExhaustedError(fmt::format(
      "disk full: {} needed under {}, {} free", HumanBytes(static_cast<uint64_t>(needed)),
      folder.parent_path().string(), HumanBytes(space.available)));
}

// The shards that an earlier attempt has not completed, and how many bytes that takes of all.
struct MissingShards {
  std::vector<const SafetensorsFile*> shards;
  int64_t bytes = 0;
  int64_t bytes_of_all = 0;
};

MissingShards FindMissing(const Checkpoint& checkpoint, const MergePlan& plan,
                          const fs::path& folder) {
  MissingShards missing;
  for (const SafetensorsFile& shard : checkpoint.shards()) {
    const int64_t bytes = MergedBytes(plan, shard);
    missing.bytes_of_all += bytes;
    if (IsMerged(plan, shard, folder)) continue;
    missing.bytes += bytes;
    missing.shards.push_back(&shard);
  }
  return missing;
}

bool HasShards(const Checkpoint& checkpoint, const fs::path& folder) {
  return std::ranges::any_of(checkpoint.shards(), [&](const SafetensorsFile& shard) {
    std::error_code is_not_there;
    return fs::exists(folder / shard.path().filename(), is_not_there);
  });
}

// Brings all files into `folder`.
absl::Status Fill(const fs::path& folder, const Checkpoint& checkpoint, const MergePlan& plan,
                  const std::function<void(double fraction)>& progress,
                  const std::stop_token& stop) {
  const MissingShards missing = FindMissing(checkpoint, plan, folder);
  RETURN_IF_ERROR(CheckSpace(folder, missing.bytes));
  RETURN_IF_ERROR(WriteOtherFiles(checkpoint.directory(), plan, folder));
  Meter meter(missing.bytes_of_all, missing.bytes_of_all - missing.bytes, progress, stop);
  for (const SafetensorsFile* shard : missing.shards) {
    RETURN_IF_ERROR(MergeShard(checkpoint, *shard, plan, folder, meter));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status MergeAdapter(const fs::path& base, const AdapterLayout& layout,
                          std::span<const float> values, const fs::path& target,
                          const std::function<void(double fraction)>& progress,
                          const std::stop_token& stop) {
  Check(values.size() == static_cast<size_t>(layout.parameter_count()),
        "an adapter has as many values as its layout");
  ASSIGN_OR_RETURN(const Checkpoint checkpoint, Checkpoint::Open(base));
  ASSIGN_OR_RETURN(const MergePlan plan, MergePlan::Create(checkpoint, layout, values));
  ASSIGN_OR_RETURN(const std::string mark, MarkOf(checkpoint, layout, values));
  ASSIGN_OR_RETURN(StagedFolder folder, StagedFolder::Resume(target, mark));
  const absl::Status filled = Fill(folder.path(), checkpoint, plan, progress, stop);
  if (filled.ok()) return std::move(folder).Commit();
  // Without a whole shard, a full disk gets its space back.
  const bool is_of_use = absl::IsCancelled(filled) || (absl::IsResourceExhausted(filled) &&
                                                       HasShards(checkpoint, folder.path()));
  if (is_of_use) std::move(folder).Leave();
  return filled;
}

}  // namespace fedtune
