// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/clock.h"
#include "base/logging.h"
#include "coordinator/driver/active_runs.h"
#include "coordinator/driver/clients/client_line.h"
#include "coordinator/driver/clients/client_lines.h"
#include "coordinator/driver/clients/client_records.h"
#include "coordinator/driver/clients/repeated_news.h"
#include "coordinator/driver/contributions/contribution_buffer.h"
#include "coordinator/driver/contributions/handed_in.h"
#include "coordinator/driver/contributions/masked_input.h"
#include "coordinator/storage/run_store.h"

namespace fedtune {

// Everything that clients do with the coordinator, once it is known who they
// are. Thread-safe.
class ClientGateway {
 public:
  // What it refers to must outlive it.
  struct Parts {
    ClientLines& lines;
    ActiveRuns& runs;
    RunStore& run_store;
    ClientRecords& clients;
    const Clock& clock;
    Log& log;
  };

  explicit ClientGateway(const Parts& parts) : parts_(parts) {}

  // As ActiveRuns::UnderWayFor(). Tell a client of them before Connect(): of a run that
  // begins or ends meanwhile it hears after that, on its line.
  std::optional<std::vector<RunId>> RunsUnderWayFor(const Institution& client) const {
    return parts_.runs.UnderWayFor(client);
  }

  // As ActiveRuns::MayKnow().
  bool MayKnow(const Institution& client, const RunId& run) const {
    return parts_.runs.MayKnow(client, run);
  }

  // A client has said hello on `line`; an older line of it is closed.
  void Connect(ClientRecord client, std::shared_ptr<ClientLine> line);

  // The line is gone. Does nothing if a newer one has taken its place.
  void Disconnect(const ClientRecord& client, const ClientLine* line);

  // Events about runs that are not under way are dropped: they come late. That a client
  // has failed in a round the log says, too, up to some number.
  void Receive(const Institution& from, const RunId& run, ClientEvent event);

  // As Run::CheckContribution(); FAILED_PRECONDITION also: the run is not under
  // way. What is out of place is refused, and the log says so, up to some number.
  absl::StatusOr<Admission> CheckContribution(const Institution& from, const RunId& run,
                                              const ContributionHeader& header);

  // As RunDriver::Take(): contributions to one run that have come at the same time.
  void Take(const RunId& run, std::span<HandedIn* const> handed_in);

  // As RunDriver::TakeLater(); `decided` may be called at once.
  void TakeLater(const RunId& run, HandedIn& handed);

  // For a masked input that was just checked; with what a call that was cut off has
  // left of it. UNAVAILABLE: there is no space on the disk now. FAILED_PRECONDITION:
  // the run is not under way.
  absl::StatusOr<MaskedInput> NewMaskedInput(const Institution& from, const RunId& run,
                                             const ContributionHeader& header) const;

  // The same for a contribution of a plain run.
  absl::StatusOr<ContributionBuffer> NewBuffer(const Institution& from, const RunId& run,
                                               const ContributionHeader& header) const;

  // As RunDriver::CouldNotKeep(). The log says so, too, once for each attempt of a client.
  void CouldNotKeep(const Institution& from, const RunId& run, const ContributionHeader& header,
                    absl::Duration took, const absl::Status& why);

  // What came behind this header was refused for good: the client has failed in the
  // attempt, and the round does not wait for another one. Changes nothing when the
  // attempt is not open, or does not await this client.
  void ContributionRefused(const Institution& from, const RunId& run,
                           const ContributionHeader& header, const absl::Status& why);

  // A call was refused before anything that it says was read: the log says so, up to some
  // number.
  void CallRefused(const Institution& from, const absl::Status& why);

  // NOT_FOUND: no such blob, or it has been removed since.
  absl::StatusOr<Blob> FetchBlob(const Digest& digest) const;

 private:
  RepeatedNews::Say Note(RepeatedNews& news, const Institution& client);
  bool SaysThatItComesOrGoes(const Institution& client);
  void LogFailure(const Institution& from, const RunId& run, const ClientFailed& failed);
  void LogRefusal(const Institution& from, const RunId& run, const ContributionHeader& header,
                  const absl::Status& why);
  std::shared_ptr<RunDriver> Taker(const RunId& run, HandedIn& handed) const;

  const Parts parts_;
  std::mutex mutex_;
  // The round and attempt of which the log says so.
  std::map<std::pair<Institution, RunId>, std::pair<int64_t, int64_t>> not_kept_;
  RepeatedNews comings_and_goings_;
  RepeatedNews refusals_;
  RepeatedNews failures_;
  RepeatedNews refused_calls_;
};

}  // namespace fedtune
