// SPDX-License-Identifier: Apache-2.0

#include "client/round/round_record.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <iterator>
#include <string_view>
#include <utility>

#include "aggregation/adapter_bytes.h"
#include "base/status_macros.h"
#include "fmt/format.h"

namespace fedtune {
namespace {

constexpr std::string_view kCheckpoint = "fedtune/round-checkpoint";
constexpr std::string_view kResult = "fedtune/round-result";
constexpr uint32_t kVersion = 1;
constexpr size_t kMaxText = 256;  // Of a name or a digest.
constexpr size_t kMaxHeader = size_t{16} << 20;
constexpr uint32_t kMaxExperts = 1 << 20;  // Of all layers.

// ---- Writing ----

void WriteDouble(CanonicalWriter& writer, double value) {
  writer.U64(std::bit_cast<uint64_t>(value));
}

void WriteCount(CanonicalWriter& writer, int64_t value) {
  writer.U64(static_cast<uint64_t>(value));
}

void WriteRouted(CanonicalWriter& writer, const std::vector<int64_t>& tokens) {
  writer.U32(static_cast<uint32_t>(tokens.size()));
  for (const int64_t count : tokens) WriteCount(writer, count);
}

void WriteInputs(CanonicalWriter& writer, const RoundInputs& inputs) {
  writer.Sized(inputs.run);
  WriteCount(writer, inputs.round);
  writer.Fixed(inputs.adapter)
      .U8(static_cast<uint8_t>(inputs.factors))
      .U8(inputs.evaluate ? 1 : 0)
      .U8(inputs.evaluate_only ? 1 : 0)
      .Fixed(inputs.plan)
      .Sized(inputs.base_model)
      .Fixed(inputs.layout)
      .Fixed(inputs.records);
}

void WriteEvaluation(CanonicalWriter& writer, const std::optional<EvaluationResult>& evaluation) {
  writer.U8(evaluation ? 1 : 0);
  if (!evaluation) return;
  WriteDouble(writer, evaluation->loss);
  writer.U8(evaluation->accuracy ? 1 : 0);
  if (evaluation->accuracy) WriteDouble(writer, *evaluation->accuracy);
  WriteCount(writer, evaluation->example_count);
}

void WriteTrainingState(CanonicalWriter& writer, const TrainingState& state) {
  WriteCount(writer, state.step);
  WriteDouble(writer, state.loss_sum);
  WriteCount(writer, state.token_count);
  WriteCount(writer, state.answer_token_count);
  WriteDouble(writer, state.seconds);
  WriteRouted(writer, state.routed_tokens);
  writer.U64(state.adapter.size()).U64(state.first_moment.size()).U64(state.second_moment.size());
}

void WriteMetrics(CanonicalWriter& writer, const LocalMetrics& metrics) {
  WriteDouble(writer, metrics.training_loss);
  WriteCount(writer, metrics.steps);
  WriteCount(writer, metrics.token_count);
  WriteCount(writer, absl::ToInt64Nanoseconds(metrics.training_time));
  WriteEvaluation(writer, metrics.before);
  WriteEvaluation(writer, metrics.after);
  WriteRouted(writer, metrics.routed_tokens);
}

CanonicalWriter BeginHeader(std::string_view kind, const RoundInputs& inputs) {
  CanonicalWriter writer;
  writer.Sized(kind).U32(kVersion);
  WriteInputs(writer, inputs);
  return writer;
}

// ---- Reading ----

// Reads a header; what cannot be is found at its end, all at once.
class HeaderReader {
 public:
  explicit HeaderReader(ByteSpan bytes) : reader_(bytes) {}

  absl::Status ReadKind(std::string_view kind) {
    const Bytes found = reader_.Sized(kMaxText);
    const uint32_t version = reader_.U32();
    if (std::string_view(reinterpret_cast<const char*>(found.data()), found.size()) != kind) {
      return absl::InvalidArgumentError("it is nothing of a round");
    }
    if (version == kVersion) return absl::OkStatus();
    return absl::InvalidArgumentError(fmt::format(
        "it is of version {}, and this program reads {}; was it updated?", version, kVersion));
  }

  std::string Text() {
    const Bytes bytes = reader_.Sized(kMaxText);
    return {bytes.begin(), bytes.end()};
  }

  bool Flag() {
    const uint8_t value = reader_.U8();
    if (value > 1) impossible_ = true;
    return value == 1;
  }

  FactorSet Factors() {
    const uint8_t value = reader_.U8();
    if (value < 1 || value > 3) impossible_ = true;
    return static_cast<FactorSet>(value);
  }

  int64_t Count() {
    const auto value = static_cast<int64_t>(reader_.U64());
    if (value < 0) impossible_ = true;
    return value;
  }

  double Double() { return std::bit_cast<double>(reader_.U64()); }
  Digest ReadDigest() { return reader_.ReadDigest(); }

  RoundInputs Inputs() {
    RoundInputs inputs;
    inputs.run = Text();
    inputs.round = Count();
    inputs.adapter = ReadDigest();
    inputs.factors = Factors();
    inputs.evaluate = Flag();
    inputs.evaluate_only = Flag();
    inputs.plan = ReadDigest();
    inputs.base_model = Text();
    inputs.layout = ReadDigest();
    inputs.records = ReadDigest();
    return inputs;
  }

  std::optional<EvaluationResult> Evaluation() {
    if (!Flag()) return std::nullopt;
    EvaluationResult evaluation{.loss = Double()};
    if (Flag()) evaluation.accuracy = Double();
    evaluation.example_count = Count();
    return evaluation;
  }

  LocalMetrics Metrics() {
    LocalMetrics metrics{.training_loss = Double()};
    metrics.steps = Count();
    metrics.token_count = Count();
    metrics.training_time = absl::Nanoseconds(Count());
    metrics.before = Evaluation();
    metrics.after = Evaluation();
    metrics.routed_tokens = Routed();
    return metrics;
  }

  // Without its values.
  TrainingState State() {
    TrainingState state{.step = Count()};
    state.loss_sum = Double();
    state.token_count = Count();
    state.answer_token_count = Count();
    state.seconds = Double();
    state.routed_tokens = Routed();
    return state;
  }

  std::vector<int64_t> Routed() {
    std::vector<int64_t> tokens(reader_.Count(kMaxExperts, sizeof(int64_t)));
    for (int64_t& count : tokens) count = Count();
    return tokens;
  }

  absl::Status Finish() const {
    RETURN_IF_ERROR(reader_.Finish("its header"));
    return impossible_ ? absl::InvalidArgumentError("its header says what cannot be")
                       : absl::OkStatus();
  }

 private:
  CanonicalReader reader_;
  bool impossible_ = false;
};

// The header, taken off the front of `bytes`.
absl::StatusOr<ByteSpan> TakeHeader(ByteSpan& bytes) {
  CanonicalReader reader(bytes.first(std::min(bytes.size(), sizeof(uint32_t))));
  const uint32_t size = reader.U32();
  if (bytes.size() < sizeof(uint32_t) || size > kMaxHeader ||
      size > bytes.size() - sizeof(uint32_t)) {
    return absl::InvalidArgumentError("it is cut short");
  }
  const ByteSpan header = bytes.subspan(sizeof(uint32_t), size);
  bytes = bytes.subspan(sizeof(uint32_t) + size);
  return header;
}

// As many values as the header said, taken off the front of `bytes`.
absl::Status TakeValues(ByteSpan& bytes, int64_t count, std::vector<float>& values) {
  if (static_cast<uint64_t>(count) > bytes.size() / sizeof(float)) {
    return absl::InvalidArgumentError("it has fewer values than it says");
  }
  const size_t size = static_cast<size_t>(count) * sizeof(float);
  values.resize(static_cast<size_t>(count));
  if (size > 0) std::memcpy(values.data(), bytes.data(), size);
  bytes = bytes.subspan(size);
  return absl::OkStatus();
}

absl::Status CheckAtEnd(ByteSpan bytes) {
  return bytes.empty() ? absl::OkStatus()
                       : absl::InvalidArgumentError("it has bytes after its end");
}

}  // namespace

absl::Status CheckSameInputs(const RoundInputs& stored, const RoundInputs& wanted) {
  const std::pair<bool, std::string_view> checks[] = {
      {stored.run == wanted.run, "run"},
      {stored.round == wanted.round, "round"},
      {stored.adapter == wanted.adapter, "incoming adapter"},
      {stored.factors == wanted.factors, "choice of factors"},
      {stored.evaluate == wanted.evaluate && stored.evaluate_only == wanted.evaluate_only,
       "wish for evaluations"},
      {stored.plan == wanted.plan, "plan"},
      {stored.base_model == wanted.base_model, "base model"},
      {stored.layout == wanted.layout, "adapter layout"},
      {stored.records == wanted.records, "set of records"}};
  for (const auto& [same, what] : checks) {
    if (!same) return absl::FailedPreconditionError(fmt::format("it is of another {}", what));
  }
  return absl::OkStatus();
}

absl::Status CheckFits(const RoundResult& result, const AdapterLayout& layout) {
  const RoundInputs& inputs = result.inputs;
  const int64_t count = inputs.evaluate_only ? 0 : layout.parameter_count(inputs.factors);
  if (std::ssize(result.delta) != count) {
    return absl::InvalidArgumentError(
        fmt::format("it has {} values, not {}", result.delta.size(), count));
  }
  if (inputs.evaluate_only) return absl::OkStatus();
  return CheckFinite(layout, inputs.factors, result.delta, "its delta");
}

RoundRecord RoundRecord::Of(const RoundCheckpoint& checkpoint) {
  CanonicalWriter writer = BeginHeader(kCheckpoint, checkpoint.inputs);
  WriteEvaluation(writer, checkpoint.before);
  writer.U8(checkpoint.training ? 1 : 0);
  if (checkpoint.training) WriteTrainingState(writer, *checkpoint.training);
  RoundRecord record(CanonicalWriter().Sized(writer.bytes()).bytes());
  if (!checkpoint.training) return record;
  const TrainingState& state = *checkpoint.training;
  record.values_ = {state.adapter, state.first_moment, state.second_moment};
  return record;
}

RoundRecord RoundRecord::Of(const RoundResult& result) {
  CanonicalWriter writer = BeginHeader(kResult, result.inputs);
  WriteMetrics(writer, result.metrics);
  writer.U64(result.delta.size());
  RoundRecord record(CanonicalWriter().Sized(writer.bytes()).bytes());
  record.values_ = {result.delta};
  return record;
}

std::vector<ByteSpan> RoundRecord::parts() const {
  std::vector<ByteSpan> parts = {header_};
  for (const std::span<const float> values : values_) {
    parts.emplace_back(reinterpret_cast<const uint8_t*>(values.data()), values.size_bytes());
  }
  return parts;
}

absl::StatusOr<RoundCheckpoint> ParseCheckpoint(ByteSpan bytes) {
  ASSIGN_OR_RETURN(const ByteSpan header, TakeHeader(bytes));
  HeaderReader reader(header);
  RETURN_IF_ERROR(reader.ReadKind(kCheckpoint));
  RoundCheckpoint checkpoint{.inputs = reader.Inputs()};
  checkpoint.before = reader.Evaluation();
  int64_t counts[3] = {};
  if (reader.Flag()) {
    checkpoint.training = reader.State();
    for (int64_t& count : counts) count = reader.Count();
  }
  RETURN_IF_ERROR(reader.Finish());
  if (checkpoint.training) {
    TrainingState& state = *checkpoint.training;
    RETURN_IF_ERROR(TakeValues(bytes, counts[0], state.adapter));
    RETURN_IF_ERROR(TakeValues(bytes, counts[1], state.first_moment));
    RETURN_IF_ERROR(TakeValues(bytes, counts[2], state.second_moment));
  }
  RETURN_IF_ERROR(CheckAtEnd(bytes));
  return checkpoint;
}

absl::StatusOr<RoundResult> ParseResult(ByteSpan bytes) {
  ASSIGN_OR_RETURN(const ByteSpan header, TakeHeader(bytes));
  HeaderReader reader(header);
  RETURN_IF_ERROR(reader.ReadKind(kResult));
  RoundResult result{.inputs = reader.Inputs()};
  result.metrics = reader.Metrics();
  const int64_t count = reader.Count();
  RETURN_IF_ERROR(reader.Finish());
  RETURN_IF_ERROR(TakeValues(bytes, count, result.delta));
  RETURN_IF_ERROR(CheckAtEnd(bytes));
  return result;
}

}  // namespace fedtune
