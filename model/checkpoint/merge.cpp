// SPDX-License-Identifier: Apache-2.0

#include "model/checkpoint/merge.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <string>
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
#include "model/checkpoint/safetensors_writer.h"
#include "model/checkpoint/staged_folder.h"

namespace fedtune {
namespace {

namespace fs = std::filesystem;

constexpr size_t kPieceBytes = size_t{4} << 20;

// What is added to one weight.
struct LowRankUpdate {
  const AdapterModule* module = nullptr;
  std::span<const float> a;  // [lora_rank, in_features]
  std::span<const float> b;  // [out_features, lora_rank]
};

// By the name of the weight.
using Updates = std::map<std::string, LowRankUpdate, std::less<>>;

Updates UpdatesOf(const AdapterLayout& layout, std::span<const float> values) {
  Updates updates;
  for (const AdapterTensor& tensor : layout.tensors()) {
    const AdapterModule& module = layout.modules()[static_cast<size_t>(tensor.module_index)];
    LowRankUpdate& update = updates[module.name + ".weight"];
    update.module = &module;
    (tensor.factor == Factor::kA ? update.a : update.b) =
        values.subspan(static_cast<size_t>(tensor.offset), static_cast<size_t>(tensor.size()));
  }
  return updates;
}

absl::Status CheckWeights(const Checkpoint& checkpoint, const Updates& updates) {
  for (const auto& [name, update] : updates) {
    ASSIGN_OR_RETURN(const TensorView weight, checkpoint.Get(name));
    const std::vector<int64_t> shape = {update.module->out_features, update.module->in_features};
    if (weight.shape != shape) {
      return absl::InvalidArgumentError(fmt::format(
          "{}: tensor {} is {}, but the adapter is for {}", checkpoint.directory().string(), name,
          ShapeToString(weight.shape), ShapeToString(shape)));
    }
    if (!IsConvertibleToFloat(weight.type)) {
      return absl::InvalidArgumentError(
          fmt::format("{}: tensor {} is {}; adapters can be merged into F32, F16 and BF16",
                      checkpoint.directory().string(), name, ToString(weight.type)));
    }
  }
  return absl::OkStatus();
}

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

// Adds to how much has been written and tells it.
class Meter {
 public:
  Meter(int64_t total, const std::function<void(double)>& progress)
      : total_(std::max<int64_t>(total, 1)), progress_(progress) {}

  void Add(size_t bytes) {
    written_ += static_cast<int64_t>(bytes);
    progress_(static_cast<double>(written_) / static_cast<double>(total_));
  }

 private:
  const int64_t total_;
  int64_t written_ = 0;
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
      bytes = bytes.subspan(piece.size());
    }
    return absl::OkStatus();
  }

  // Row by row, several rows at a time.
  absl::Status Merge(const TensorView& weight, const LowRankUpdate& update) {
    const auto width = static_cast<size_t>(update.module->in_features);
    const size_t row_bytes = width * static_cast<size_t>(BytesPerValue(weight.type));
    const auto rows = static_cast<size_t>(update.module->out_features);
    const size_t rows_a_piece = std::max<size_t>(1, kPieceBytes / row_bytes);
    for (size_t first = 0; first < rows; first += rows_a_piece) {
      const size_t count = std::min(rows_a_piece, rows - first);
      const auto bytes = weight.bytes.subspan(first * row_bytes, count * row_bytes);
      ASSIGN_OR_RETURN(const std::vector<std::byte> merged,
                       MergeRows(weight, bytes, update, first));
      RETURN_IF_ERROR(Write(merged));
    }
    return absl::OkStatus();
  }

 private:
  // The rows in `bytes`, the first of which is row `first` of the weight.
  static absl::StatusOr<std::vector<std::byte>> MergeRows(const TensorView& weight,
                                                          std::span<const std::byte> bytes,
                                                          const LowRankUpdate& update,
                                                          size_t first) {
    const auto width = static_cast<size_t>(update.module->in_features);
    const size_t row_bytes = width * static_cast<size_t>(BytesPerValue(weight.type));
    std::vector<float> row(width);
    std::vector<float> delta(width);
    std::vector<std::byte> merged(bytes.size());
    for (size_t start = 0; start < bytes.size(); start += row_bytes) {
      const auto target = std::span(merged).subspan(start, row_bytes);
      DecodeFloats(weight.type, bytes.subspan(start, row_bytes), row);
      AddUpdate(update, first + start / row_bytes, row, delta);
      EncodeFloats(weight.type, row, target);
      DecodeFloats(weight.type, target, row);  // As it will be read.
      if (!std::all_of(row.begin(), row.end(), [](float value) { return std::isfinite(value); })) {
        return absl::InvalidArgumentError(
            fmt::format("tensor {} has a value after merging that is not finite in {}", weight.name,
                        ToString(weight.type)));
      }
    }
    return merged;
  }

  absl::Status Write(std::span<const std::byte> bytes) {
    RETURN_IF_ERROR(writer_.Append(bytes));
    meter_.Add(bytes.size());
    return absl::OkStatus();
  }

  SafetensorsWriter& writer_;
  Meter& meter_;
};

absl::Status MergeShard(const SafetensorsFile& shard, const Updates& updates,
                        const fs::path& folder, Meter& meter) {
  std::vector<TensorInfo> infos;
  infos.reserve(shard.tensors().size());
  for (const TensorView& tensor : shard.tensors()) {
    infos.push_back({.name = tensor.name, .type = tensor.type, .shape = tensor.shape});
  }
  ASSIGN_OR_RETURN(
      SafetensorsWriter writer,
      SafetensorsWriter::Create(folder / shard.path().filename(), infos, shard.metadata()));
  ShardMerger merger(writer, meter);
  for (const TensorView& tensor : shard.tensors()) {
    const auto update = updates.find(tensor.name);
    RETURN_IF_ERROR(update == updates.end() ? merger.Copy(tensor.bytes)
                                            : merger.Merge(tensor, update->second));
  }
  return std::move(writer).Finish();
}

// Files whose content is or lists weights: the merged ones replace them.
bool HoldsWeights(const fs::path& file) {
  constexpr std::array kExtensions = {".safetensors", ".bin", ".pt",      ".pth", ".ckpt",
                                      ".gguf",        ".h5",  ".msgpack", ".onnx"};
  const std::string name = file.filename().string();
  return std::find(kExtensions.begin(), kExtensions.end(), file.extension()) != kExtensions.end() ||
         (name.ends_with(".index.json") && name != kWeightsIndexFile);
}

absl::Status CopyOtherFiles(const fs::path& base, const fs::path& folder) {
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator(base, error)) {
    const fs::path& path = entry.path();
    std::error_code unreadable;
    if (!entry.is_regular_file(unreadable) || HoldsWeights(path)) continue;
    if (path.filename().string().starts_with('.')) continue;
    ASSIGN_OR_RETURN(const std::string content, ReadFile(path));
    RETURN_IF_ERROR(WriteFileAtomically(folder / path.filename(), content));
  }
  return error ? ErrnoToStatus(error.value(), "list", base) : absl::OkStatus();
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
  const Updates updates = UpdatesOf(layout, values);
  RETURN_IF_ERROR(CheckWeights(checkpoint, updates));
  ASSIGN_OR_RETURN(StagedFolder folder, StagedFolder::Create(target));
  RETURN_IF_ERROR(CheckSpace(folder.path(), checkpoint.weight_bytes()));
  RETURN_IF_ERROR(CopyOtherFiles(base, folder.path()));
  Meter meter(checkpoint.weight_bytes(), progress);
  for (const SafetensorsFile& shard : checkpoint.shards()) {
    RETURN_IF_ERROR(MergeShard(shard, updates, folder.path(), meter));
  }
  return std::move(folder).Commit();
}

}  // namespace fedtune
