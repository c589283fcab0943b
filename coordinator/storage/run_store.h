// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "coordinator/rounds/names.h"
#include "coordinator/rounds/round_summary.h"
#include "coordinator/rounds/run.h"
#include "coordinator/rounds/run_events.h"
#include "coordinator/storage/blob.h"
#include "coordinator/storage/blob_draft.h"
#include "privacy/crypto/sha256.h"

namespace fedtune {

// How many bytes of contributions came in and of adapters went out.
struct Traffic {
  uint64_t bytes_received = 0;
  uint64_t bytes_sent = 0;

  friend bool operator==(const Traffic&, const Traffic&) = default;
};

// A run's row. Times are kept to the millisecond.
struct RunRecord {
  // Fixed when the run starts.
  RunId id;
  std::string request_id;  // Chosen by the administrator; starts one run only.
  std::string plan_name;
  std::string plan_toml;
  std::string layout_json;
  std::string base_model_json;
  std::string base_model;   // Its name.
  std::string base_digest;  // "sha256:..."
  std::string started_by;
  int64_t round_count = 0;
  absl::Time started_at;
  Digest initial_adapter;
  uint64_t adapter_bytes = 0;

  // What the run has come to.
  RunState state = RunState::kInviting;
  std::string reason;
  std::optional<absl::Time> ended_at;
  int64_t rounds_done = 0;
  int64_t attempts_opened = 0;  // Of the round after those done.
  Digest adapter;               // The newest.
  std::optional<Digest> optimizer_state;
  Traffic traffic;
  std::optional<std::string> pause = std::nullopt;  // It is paused or about to, and why.
  std::optional<std::string> stop = std::nullopt;   // It is to stop, and why.

  friend bool operator==(const RunRecord&, const RunRecord&) = default;
};

// One contribution to a released round, as plain runs know it.
struct ContributionRecord {
  Institution institution;
  Digest sha256;  // As in its header.
  int64_t weight = 0;
  int64_t example_count = 0;
  ClientMetrics metrics;

  friend bool operator==(const ContributionRecord&, const ContributionRecord&) = default;
};

// A released round.
struct ReleaseRecord {
  RoundSummary summary;
  Digest adapter;
  absl::Time started_at;
  absl::Time ended_at;

  friend bool operator==(const ReleaseRecord&, const ReleaseRecord&) = default;
};

// All that one release stores.
struct NewRelease {
  ReleaseRecord record;
  std::vector<ContributionRecord> contributions;
  std::span<const std::byte> adapter;
  std::span<const std::byte> optimizer_state;  // Empty: the optimiser has none.
  Traffic traffic;                             // Of the whole run so far.
  // Of NewBlob(), if these bytes lie there already, with the digest of the state. Null:
  // they are to be written.
  BlobDraft* adapter_draft = nullptr;
  BlobDraft* state_draft = nullptr;
  std::optional<Digest> state_digest = std::nullopt;
  // The oldest round whose release clients may still start from.
  std::optional<int64_t> oldest_wanted = std::nullopt;
  // The journal's entry until an attempt is opened again; empty: it has none.
  std::string journal = {};
};

// How a run ended.
struct RunEnding {
  RunState state = RunState::kFinished;
  std::string reason;
  absl::Time ended_at;
  std::vector<ClientView> clients;
  std::optional<EvaluationSummary> last_evaluation;
  Traffic traffic;
};

// The durable record of all runs and the blobs that belong to them. Every
// method that writes is one atomic transaction, on the disk when it returns.
// Implementations are thread-safe.
//
// Every method: INTERNAL: the store holds what this program does not know.
// RESOURCE_EXHAUSTED: the disk is full. UNAVAILABLE: another process holds the
// store. In both cases nothing has changed, try again. UNAVAILABLE also: the disk has
// failed, the store is damaged, or another process has taken it over; then the process
// is to end, whoever opened the store was told, and what was written last is known when
// it is opened again.
class RunStore {
 public:
  virtual ~RunStore() = default;

  // A new run with those who are invited to it.
  //
  // ALREADY_EXISTS: a run with this id or this request id is stored.
  virtual absl::Status Insert(const RunRecord& run, const std::vector<ClientView>& clients,
                              std::span<const std::byte> adapter) = 0;

  // NOT_FOUND: no such run.
  virtual absl::StatusOr<RunRecord> Get(const RunId& id) const = 0;

  // The run that this request has started, if any.
  virtual absl::StatusOr<std::optional<RunRecord>> FindByRequest(
      std::string_view request_id) const = 0;

  // Of all runs, by name; of no run anything else is read.
  virtual absl::StatusOr<std::vector<RunId>> Ids() const = 0;

  // Newest first. Without layout_json and base_model_json, of which a large model has
  // megabytes in each run; Get() has them.
  virtual absl::StatusOr<std::vector<RunRecord>> List() const = 0;

  // Where a large blob is written before a transaction names it. Does not outlive the
  // store. What no transaction has named is not there when the store is opened again.
  virtual absl::StatusOr<std::unique_ptr<BlobDraft>> NewBlob(uint64_t size) = 0;

  // The last round's release becomes the run's head. Adapters that fall behind
  // the last few are removed, but for the initial one and those that are wanted.
  //
  // ABORTED: the run is missing, has ended, or is not at this round.
  virtual absl::Status SaveRelease(const RunId& id, const NewRelease& release) = 0;

  // Where these institutions stand; replaces what was stored of them, others stay.
  // Of a ClientView, the progress within a round is not kept, and the rounds
  // contributed to are counted from the releases.
  virtual absl::Status SaveClients(const RunId& id, const std::vector<ClientView>& clients) = 0;

  // An attempt at the current round is open: a run that has not ended is kRunning,
  // and its journal begins anew with this entry. The journal goes with the round's
  // release and with the run's end.
  //
  // ABORTED: the run is missing or has ended.
  virtual absl::Status OpenJournal(const RunId& id, int64_t attempt, std::string_view entry) = 0;

  // Adds entries to it.
  virtual absl::Status AppendToJournal(const RunId& id,
                                       const std::vector<std::string>& entries) = 0;

  // In order; empty, or the entry of a release or of Reopen(): no attempt is open.
  virtual absl::StatusOr<std::vector<std::string>> Journal(const RunId& id) const = 0;

  // Whether the run is to pause, and why. ABORTED: the run is missing or has ended.
  virtual absl::Status SetPause(const RunId& id, const std::optional<std::string>& reason) = 0;

  // Whoever goes on with the run stops it. Asking again, or for an ended run, does nothing.
  virtual absl::Status RequestStop(const RunId& id, const std::string& reason) = 0;

  // Ending an ended run does nothing. A run that failed or was stopped keeps all that
  // it needs to go on, but for its journal.
  virtual absl::Status End(const RunId& id, const RunEnding& ending) = 0;

  // A run that failed or was stopped is under way again, and neither paused nor to stop; who
  // declined is asked again. Its journal has this entry until an attempt is opened.
  //
  // ABORTED: the run is missing, or has not ended in this way.
  virtual absl::Status Reopen(const RunId& id, std::string_view entry) = 0;

  // In order.
  virtual absl::StatusOr<std::vector<ReleaseRecord>> Releases(const RunId& id) const = 0;

  // By name.
  virtual absl::StatusOr<std::vector<ClientView>> Clients(const RunId& id) const = 0;

  // In order of rounds, the final evaluation included.
  virtual absl::StatusOr<std::vector<EvaluationSummary>> Evaluations(const RunId& id) const = 0;

  // NOT_FOUND: no such blob, or it has been removed since.
  virtual absl::StatusOr<Blob> GetBlob(const Digest& digest) const = 0;
};

}  // namespace fedtune
