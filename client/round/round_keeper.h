// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "aggregation/adapter_layout.h"
#include "base/clock.h"
#include "base/logging.h"
#include "client/round/checkpoint_timer.h"
#include "client/round/round_record.h"
#include "client/storage/sealed_file.h"
#include "client/training/training_state.h"
#include "privacy/crypto/secret_bytes.h"

namespace fedtune {

// What a client keeps of its rounds on its disk, so that being killed at any moment
// costs it little work: of each run the newest checkpoint and the newest result, and how
// often the device was lost in its last attempt, in sealed files (sealed_file.h). What cannot be
// used, because it is damaged or of other inputs, is logged, removed and not there: the work is
// done anew. Where nothing can be stored the work goes on all the same, and the log has one
// warning.
//
// Movable. Use it from one thread at a time.
class RoundKeeper {
 public:
  struct Options {
    std::filesystem::path directory;  // For this alone; made if it is not there.
    SecretBytes key;                  // Of kAeadKeySize bytes.
    absl::Duration interval;          // Between checkpoints; zero: none are kept.
  };

  // Removes what a process that was killed has left half-written. `clock` and `log`
  // must outlive the keeper. Errors: as MakeDirectories() and RemovePartialFiles().
  static absl::StatusOr<RoundKeeper> Open(Options options, const Clock& clock, Log& log);

  // What is stored of the round with these inputs. What is stored of the run's other
  // rounds is removed: a run does not go back.
  std::optional<RoundResult> FindResult(const RoundInputs& inputs, const AdapterLayout& layout);
  std::optional<RoundCheckpoint> FindCheckpoint(const RoundInputs& inputs,
                                                const TrainingShape& shape);

  // Stores it in place of the run's last one. A result that is stored takes the place
  // of the checkpoint, too.
  void Keep(const RoundCheckpoint& checkpoint);
  void Keep(const RoundResult& result);

  // How often the device was lost in this attempt, in whichever processes; once more.
  int64_t CountLosses(const AttemptId& id);
  void KeepLoss(const AttemptId& id);

  // Removes what is stored of the run; of all runs but these.
  void Discard(std::string_view run);
  void KeepOnly(const std::vector<std::string>& runs);

  CheckpointTimer NewTimer() const { return CheckpointTimer(*clock_, options_.interval); }

 private:
  // What is stored of a run, as the file's extension and what its seal is for.
  static constexpr std::string_view kCheckpoint = "checkpoint";
  static constexpr std::string_view kResult = "result";
  static constexpr std::string_view kLosses = "losses";

  RoundKeeper(Options options, const Clock& clock, Log& log)
      : options_(std::move(options)), clock_(&clock), log_(&log) {}

  std::filesystem::path FileOf(std::string_view run, std::string_view kind) const;
  FileSeal SealFor(std::string_view kind) const { return {options_.key, kind}; }

  template <typename Record>
  std::optional<Record> Find(const RoundInputs& inputs, std::string_view kind,
                             absl::StatusOr<Record> (*parse)(ByteSpan),
                             const std::function<absl::Status(const Record&)>& check);
  bool Store(const RoundInputs& inputs, std::string_view kind, const RoundRecord& record);
  void Remove(const std::filesystem::path& file);

  Options options_;
  const Clock* clock_;
  Log* log_;
  bool told_cannot_store_ = false;
};

}  // namespace fedtune
