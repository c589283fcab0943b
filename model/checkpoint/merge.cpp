// SPDX-License-Identifier: Apache-2.0

#include "model/checkpoint/merge.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <map>
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
#include "model/checkpoint/float_conversion.h"
#include "model/checkpoint/merge_plan.h"
#include "model/checkpoint/safetensors_writer.h"
#include "model/checkpoint/staged_folder.h"

namespace fedtune {
namespace {

namespace fs = std::filesystem;

constexpr size_t kPieceBytes = size_t{4} << 20;
constexpr char kNamedTemplates[] = "additional_chat_templates";

// row += scale * b A, where b is a row of B; `delta` is room for one row.
void AddUpdate(const LowRankUpdate& update, size_t row_index, std::span<float> row,
               std::span<float> delta) {
  const auto rank = static_cast<size_t>(update.module->lora_rank);
  const auto scale = static_cast<float>(update.module->scale());
  std::fill(delta.begin(), delta.end(), 0.0F);
  for (size_t k = 0; k < rank; ++k) {
    const float factor = update.b[row_index * rank + k];
    const float* a_row = update.a.data() + k * row.size();
    for (size_t i = 0; i < row.size(); ++i) delta[i] += factor * a_row[i];
  }
  for (size_t i = 0; i < row.size(); ++i) row[i] += scale * delta[i];
}

// The rows of a weight that becomes another, as fp32.
class WeightRows {
 public:
  // `scales` is that of a weight in blocks of FP8; null for the others.
  WeightRows(const TensorView& weight, const TensorView* scales, const Fp8Blocks& blocks)
      : weight_(weight), scales_(scales), blocks_(blocks) {}

  const std::string& name() const { return weight_.name; }
  size_t rows() const { return static_cast<size_t>(weight_.shape[0]); }
  size_t width() const { return static_cast<size_t>(weight_.shape[1]); }
  TensorType merged_type() const { return scales_ == nullptr ? weight_.type : TensorType::kBF16; }
  size_t merged_row_bytes() const {
    return width() * static_cast<size_t>(BytesPerValue(merged_type()));
  }

  void Read(size_t index, std::span<float> row) const {
    const auto bytes = Bytes(index, 1);
    if (scales_ == nullptr) return DecodeFloats(weight_.type, bytes, row);
    const auto block_columns = static_cast<size_t>(blocks_.columns);
    const size_t scales_a_row = static_cast<size_t>(scales_->shape[1]);
    std::vector<float> scales(scales_a_row);
    const size_t row_bytes = scales_a_row * static_cast<size_t>(BytesPerValue(scales_->type));
    DecodeFloats(
        scales_->type,
        scales_->bytes.subspan(index / static_cast<size_t>(blocks_.rows) * row_bytes, row_bytes),
        scales);
    for (size_t i = 0; i < row.size(); ++i) {
      row[i] = FloatFromE4M3(static_cast<uint8_t>(bytes[i])) * scales[i / block_columns];
    }
  }

  void Release(size_t first, size_t count) const { MappedFile::Release(Bytes(first, count)); }

 private:
  std::span<const std::byte> Bytes(size_t first, size_t count) const {
    const size_t row = width() * static_cast<size_t>(BytesPerValue(weight_.type));
    return weight_.bytes.subspan(first * row, count * row);
  }

  const TensorView& weight_;
  const TensorView* scales_;
  const Fp8Blocks blocks_;
};

// Adds to how much has been written and tells it.
class Meter {
 public:
  Meter(int64_t total, int64_t written, const std::function<void(double)>& progress)
      : total_(std::max<int64_t>(total, 1)), written_(written), progress_(progress) {}

  void Add(size_t bytes) {
    written_ += static_cast<int64_t>(bytes);
    progress_(static_cast<double>(written_) / static_cast<double>(total_));
  }

 private:
  const int64_t total_;
  int64_t written_;
  const std::function<void(double)>& progress_;
};

// Writes one shard.
class ShardMerger {
 public:
  ShardMerger(SafetensorsWriter& writer, Meter& meter) : writer_(writer), meter_(meter) {}

  absl::Status Copy(std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
      const auto piece = bytes.first(std::min(bytes.size(), kPieceBytes));
      RETURN_IF_ERROR(Write(piece));
      MappedFile::Release(piece);
      bytes = bytes.subspan(piece.size());
    }
    return absl::OkStatus();
  }

  // Row by row, several rows at a time, with what is added, if anything.
  absl::Status Merge(const WeightRows& weight, const LowRankUpdate* update) {
    const size_t row_bytes = weight.merged_row_bytes();
    const size_t rows_a_piece = std::max<size_t>(1, kPieceBytes / row_bytes);
    for (size_t first = 0; first < weight.rows(); first += rows_a_piece) {
      const size_t count = std::min(rows_a_piece, weight.rows() - first);
      std::vector<std::byte> merged(count * row_bytes);
      for (size_t i = 0; i < count; ++i) {
        RETURN_IF_ERROR(MergeRow(weight, first + i, update,
                                 std::span(merged).subspan(i * row_bytes, row_bytes)));
      }
      RETURN_IF_ERROR(Write(merged));
      weight.Release(first, count);
    }
    return absl::OkStatus();
  }

 private:
  static absl::Status MergeRow(const WeightRows& weight, size_t index, const LowRankUpdate* update,
                               std::span<std::byte> merged) {
    std::vector<float> row(weight.width());
    weight.Read(index, row);
    if (update != nullptr) {
      std::vector<float> delta(row.size());
      AddUpdate(*update, index, row, delta);
    }
    EncodeFloats(weight.merged_type(), row, merged);
    DecodeFloats(weight.merged_type(), merged, row);  // As it will be read.
    if (std::all_of(row.begin(), row.end(), [](float value) { return std::isfinite(value); })) {
      return absl::OkStatus();
    }
    return absl::InvalidArgumentError(
        fmt::format("tensor {} has a value after merging that is not finite in {}", weight.name(),
                    ToString(weight.merged_type())));
  }

  absl::Status Write(std::span<const std::byte> bytes) {
    RETURN_IF_ERROR(writer_.Append(bytes));
    meter_.Add(bytes.size());
    return absl::OkStatus();
  }

  SafetensorsWriter& writer_;
  Meter& meter_;
};

absl::Status MergeShard(const Checkpoint& checkpoint, const SafetensorsFile& shard,
                        const MergePlan& plan, const fs::path& folder, Meter& meter) {
  ASSIGN_OR_RETURN(SafetensorsWriter writer,
                   SafetensorsWriter::Create(folder / shard.path().filename(),
                                             plan.TensorsOf(shard), shard.metadata()));
  ShardMerger merger(writer, meter);
  for (const TensorView& tensor : shard.tensors()) {
    if (plan.Drops(tensor.name)) continue;
    const LowRankUpdate* update = plan.UpdateOf(tensor.name);
    if (plan.Widens(tensor.name)) {
      const TensorView* scales = checkpoint.Find(tensor.name + "_scale_inv");
      RETURN_IF_ERROR(merger.Merge({tensor, scales, plan.blocks()}, update));
    } else if (update != nullptr) {
      RETURN_IF_ERROR(merger.Merge({tensor, nullptr, {}}, update));
    } else {
      RETURN_IF_ERROR(merger.Copy(tensor.bytes));
    }
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

// Files whose content is or lists weights: the merged ones replace them.
bool HoldsWeights(const fs::path& file) {
  constexpr std::array kExtensions = {".safetensors", ".bin", ".pt",      ".pth", ".ckpt",
                                      ".gguf",        ".h5",  ".msgpack", ".onnx"};
  const std::string name = file.filename().string();
  return std::find(kExtensions.begin(), kExtensions.end(), file.extension()) != kExtensions.end() ||
         (name.ends_with(".index.json") && name != kWeightsIndexFile);
}

// Those of a folder that hold no weights and are not in the other already.
absl::Status CopyOtherFiles(const fs::path& from, const fs::path& to,
                            const std::map<std::string, std::string>& there) {
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator(from, error)) {
    const fs::path& path = entry.path();
    std::error_code unreadable;
    if (!entry.is_regular_file(unreadable) || HoldsWeights(path)) continue;
    if (path.filename().string().starts_with('.')) continue;
    if (there.contains(path.filename().string())) continue;
    ASSIGN_OR_RETURN(const std::string content, ReadFile(path));
    RETURN_IF_ERROR(WriteFileAtomically(to / path.filename(), content));
  }
  return error ? ErrnoToStatus(error.value(), "list", from) : absl::OkStatus();
}

absl::Status WriteOtherFiles(const fs::path& base, const MergePlan& plan, const fs::path& folder) {
  ASSIGN_OR_RETURN(const auto changed, plan.ChangedFiles());
  for (const auto& [name, content] : changed) {
    RETURN_IF_ERROR(WriteFileAtomically(folder / name, content));
  }
  RETURN_IF_ERROR(CopyOtherFiles(base, folder, changed));
  std::error_code unreadable_is_not_there;
  if (!fs::is_directory(base / kNamedTemplates, unreadable_is_not_there)) return absl::OkStatus();
  RETURN_IF_ERROR(MakeDirectories(folder / kNamedTemplates));
  return CopyOtherFiles(base / kNamedTemplates, folder / kNamedTemplates, {});
}

absl::Status CheckSpace(const fs::path& folder, int64_t needed) {
  std::error_code error;
  const fs::space_info space = fs::space(folder, error);
  if (error || space.available >= static_cast<uint64_t>(needed)) return absl::OkStatus();
  return absl::ResourceExhaustedError(fmt::format(
      "disk full: {} needed under {}, {} free", HumanBytes(static_cast<uint64_t>(needed)),
      folder.parent_path().string(), HumanBytes(space.available)));
}

}  // namespace

absl::Status MergeAdapter(const fs::path& base, const AdapterLayout& layout,
                          std::span<const float> values, const fs::path& target,
                          const std::function<void(double fraction)>& progress) {
  Check(values.size() == static_cast<size_t>(layout.parameter_count()),
        "an adapter has as many values as its layout");
  ASSIGN_OR_RETURN(const Checkpoint checkpoint, Checkpoint::Open(base));
  ASSIGN_OR_RETURN(const MergePlan plan, MergePlan::Create(checkpoint, layout, values));
  ASSIGN_OR_RETURN(const std::string mark, MarkOf(checkpoint, layout, values));
  ASSIGN_OR_RETURN(StagedFolder folder, StagedFolder::Resume(target, mark));
  int64_t total = 0, needed = 0;
  std::vector<const SafetensorsFile*> left;
  for (const SafetensorsFile& shard : checkpoint.shards()) {
    const int64_t bytes = MergedBytes(plan, shard);
    total += bytes;
    if (IsMerged(plan, shard, folder.path())) continue;
    needed += bytes;
    left.push_back(&shard);
  }
  RETURN_IF_ERROR(CheckSpace(folder.path(), needed));
  RETURN_IF_ERROR(WriteOtherFiles(base, plan, folder.path()));
  Meter meter(total, total - needed, progress);
  for (const SafetensorsFile* shard : left) {
    RETURN_IF_ERROR(MergeShard(checkpoint, *shard, plan, folder.path(), meter));
  }
  return std::move(folder).Commit();
}

}  // namespace fedtune
