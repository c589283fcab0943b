// SPDX-License-Identifier: Apache-2.0

#include "client/round/round_keeper.h"

#include <set>
#include <system_error>

#include "base/fail_point.h"
#include "base/file_writer.h"
#include "base/files.h"
#include "base/status.h"
#include "base/status_macros.h"
#include "fmt/format.h"
#include "privacy/crypto/canonical_bytes.h"
#include "privacy/crypto/sha256.h"

namespace fedtune {
namespace {

// A run's name comes from the coordinator: it is no file name.
std::string StemOf(std::string_view run) { return Sha256Of(run).ToHex(); }

// Of a device in an attempt.
struct Losses {
  int64_t round = 0;
  int64_t attempt = 0;
  int64_t count = 0;
};

constexpr uint8_t kLossesVersion = 1;

Bytes ToBytes(const Losses& losses) {
  CanonicalWriter out;
  out.U8(kLossesVersion)
      .U64(static_cast<uint64_t>(losses.round))
      .U64(static_cast<uint64_t>(losses.attempt))
      .U64(static_cast<uint64_t>(losses.count));
  return out.bytes();
}

absl::StatusOr<Losses> ParseLosses(ByteSpan bytes) {
  CanonicalReader in(bytes);
  if (in.U8() != kLossesVersion) return absl::InvalidArgumentError("it is of another version");
  Losses losses;
  losses.round = static_cast<int64_t>(in.U64());
  losses.attempt = static_cast<int64_t>(in.U64());
  losses.count = static_cast<int64_t>(in.U64());
  RETURN_IF_ERROR(in.Finish("a count of losses"));
  return losses;
}

bool IsOfSameRound(const RoundInputs& stored, const RoundInputs& wanted) {
  return stored.run == wanted.run && stored.round == wanted.round;
}

}  // namespace

absl::StatusOr<RoundKeeper> RoundKeeper::Open(Options options, const Clock& clock, Log& log) {
  RETURN_IF_ERROR(MakeDirectories(options.directory));
  RETURN_IF_ERROR(RemovePartialFiles(options.directory));
  return RoundKeeper(std::move(options), clock, log);
}

std::filesystem::path RoundKeeper::FileOf(std::string_view run, std::string_view kind) const {
  return options_.directory / fmt::format("{}.{}", StemOf(run), kind);
}

template <typename Record>
std::optional<Record> RoundKeeper::Find(const RoundInputs& inputs, std::string_view kind,
                                        absl::StatusOr<Record> (*parse)(ByteSpan),
                                        const std::function<absl::Status(const Record&)>& check) {
  const std::filesystem::path file = FileOf(inputs.run, kind);
  const absl::StatusOr<Bytes> bytes = ReadSealedFile(file, SealFor(kind));
  if (absl::IsNotFound(bytes.status())) return std::nullopt;
  absl::StatusOr<Record> record = bytes.ok() ? parse(*bytes) : bytes.status();
  if (record.ok() && !IsOfSameRound(record->inputs, inputs)) {
    Remove(file);
    return std::nullopt;
  }
  absl::Status status = record.status();
  if (status.ok()) status = CheckSameInputs(record->inputs, inputs);
  if (status.ok()) status = check(*record);
  if (status.ok()) return *std::move(record);
  log_->Warning("what is stored of a round is not used; its work is done anew",
                {Field("run", inputs.run), Field("round", inputs.round + 1), Field("stored", kind),
                 Field("reason", Message(status))});
  Remove(file);
  return std::nullopt;
}

std::optional<RoundResult> RoundKeeper::FindResult(const RoundInputs& inputs,
                                                   const AdapterLayout& layout) {
  auto result = Find<RoundResult>(inputs, kResult, ParseResult, [&](const RoundResult& stored) {
    return CheckFits(stored, layout);
  });
  if (result) {
    log_->Info("round was worked out before; its stored result is taken",
               {Field("run", inputs.run), Field("round", inputs.round + 1)});
  }
  return result;
}

std::optional<RoundCheckpoint> RoundKeeper::FindCheckpoint(const RoundInputs& inputs,
                                                           const TrainingShape& shape) {
  auto checkpoint = Find<RoundCheckpoint>(
      inputs, kCheckpoint, ParseCheckpoint, [&](const RoundCheckpoint& stored) {
        return stored.training ? CheckState(*stored.training, shape) : absl::OkStatus();
      });
  if (checkpoint) {
    const int64_t step = checkpoint->training ? checkpoint->training->step : 0;
    log_->Info("round goes on from its checkpoint",
               {Field("run", inputs.run), Field("round", inputs.round + 1), Field("step", step),
                Field("steps", shape.steps)});
  }
  return checkpoint;
}

bool RoundKeeper::Store(const RoundInputs& inputs, std::string_view kind,
                        const RoundRecord& record) {
  const absl::Status status =
      WriteSealedFile(FileOf(inputs.run, kind), SealFor(kind), record.parts());
  if (!status.ok() && !told_cannot_store_) {
    log_->Warning(
        "a round's work cannot be stored; it goes on, and is lost if this client is killed",
        {Field("run", inputs.run), Field("round", inputs.round + 1),
         Field("reason", Message(status))});
  }
  told_cannot_store_ = !status.ok();
  return status.ok();
}

void RoundKeeper::Keep(const RoundCheckpoint& checkpoint) {
  ReachFailPoint(FailPoint::kCheckpointStoreBefore);
  Store(checkpoint.inputs, kCheckpoint, RoundRecord::Of(checkpoint));
  ReachFailPoint(FailPoint::kCheckpointStoreAfter);
}

void RoundKeeper::Keep(const RoundResult& result) {
  ReachFailPoint(FailPoint::kResultStoreBefore);
  if (!Store(result.inputs, kResult, RoundRecord::Of(result))) return;
  ReachFailPoint(FailPoint::kResultStoreAfter);
  Remove(FileOf(result.inputs.run, kCheckpoint));
}

int64_t RoundKeeper::CountLosses(const AttemptId& id) {
  const std::filesystem::path file = FileOf(id.run, kLosses);
  const absl::StatusOr<Bytes> bytes = ReadSealedFile(file, SealFor(kLosses));
  if (absl::IsNotFound(bytes.status())) return 0;
  absl::StatusOr<Losses> losses = bytes.ok() ? ParseLosses(*bytes) : bytes.status();
  if (losses.ok()) {
    return losses->round == id.round && losses->attempt == id.attempt ? losses->count : 0;
  }
  log_->Warning("how often the device was lost in a round is not known",
                {Field("run", id.run), Field("reason", Message(losses.status()))});
  Remove(file);
  return 0;
}

void RoundKeeper::KeepLoss(const AttemptId& id) {
  const Bytes losses =
      ToBytes({.round = id.round, .attempt = id.attempt, .count = CountLosses(id) + 1});
  const ByteSpan part(losses);
  const absl::Status stored =
      WriteSealedFile(FileOf(id.run, kLosses), SealFor(kLosses), {&part, 1});
  if (stored.ok()) return;
  log_->Warning("that the device was lost cannot be stored; it may be so again and again",
                {Field("run", id.run), Field("reason", Message(stored))});
}

void RoundKeeper::Discard(std::string_view run) {
  Remove(FileOf(run, kCheckpoint));
  Remove(FileOf(run, kResult));
  Remove(FileOf(run, kLosses));
}

void RoundKeeper::KeepOnly(const std::vector<std::string>& runs) {
  std::set<std::string> stems;
  for (const std::string& run : runs) stems.insert(StemOf(run));
  std::vector<std::filesystem::path> others;
  std::error_code error;
  for (std::filesystem::directory_iterator entry(options_.directory, error), end;
       !error && entry != end; entry.increment(error)) {
    if (!stems.contains(entry->path().stem().string())) others.push_back(entry->path());
  }
  for (const std::filesystem::path& file : others) Remove(file);
  if (others.empty()) return;
  log_->Info("what an earlier process has stored of runs that have ended is removed",
             {Field("files", others.size())});
}

void RoundKeeper::Remove(const std::filesystem::path& file) {
  std::error_code error;
  std::filesystem::remove(file, error);
  if (!error) return;
  log_->Warning("what is stored of a round cannot be removed",
                {Field("file", file.string()), Field("reason", error.message())});
}

}  // namespace fedtune
