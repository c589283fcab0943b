// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <utility>

#include "client/round/client_state.h"
#include "client/round/coordinator_link.h"
#include "client/round/local_workshop.h"
#include "simulation/coordinator_port.h"
#include "simulation/scheduler.h"
#include "simulation/temperament.h"

namespace fedtune::simulation {

// What crossed the network, as it would be on the wire without TLS and framing.
struct WireBytes {
  std::atomic<uint64_t> up = 0;
  std::atomic<uint64_t> down = 0;
};

// Where training is done that takes real time; empty: at once.
using TrainingPool = std::function<void(std::function<void()> training)>;

// One institution in virtual time: the real ClientState, LocalWorkshop and, in secure
// runs, SecureDesk, and all that ClientDaemon has but its threads. Its time is drawn
// from its temperament; the work itself is done at once, when that time is over, or on
// the pool meanwhile.
class VirtualClient final : public CoordinatorLink {
 public:
  struct Parts {
    std::string name;
    Temperament temperament;
    std::unique_ptr<LocalWorkshop> workshop;
    double bytes_down = 0;  // Of a round, which its line takes time for.
    double bytes_up = 0;
    TrainingPool pool = {};
  };

  // The others must outlive it, and the scheduler what waits in it.
  VirtualClient(Parts parts, Scheduler& scheduler, CoordinatorPort& coordinator, WireBytes& wire);

  // Makes its connection, in a moment.
  void Start();

  // ---- CoordinatorLink ----
  void Send(const Reply& reply) override;
  absl::StatusOr<std::vector<float>> FetchAdapter(WantedAdapter wanted, std::stop_token stop,
                                                  const TransferObserver& observer) override;
  absl::Status Submit(std::shared_ptr<const Contribution> contribution,
                      std::stop_token stop) override;
  absl::Status SubmitMasked(std::shared_ptr<const MaskedContribution> contribution,
                            std::stop_token stop) override;
  absl::StatusOr<LogProof> ProveLog(const LogQuestion& question, std::stop_token stop) override;

 private:
  // What one of the daemon's threads has to do.
  struct Lane {
    std::deque<std::pair<absl::Duration, std::function<void()>>> waiting = {};
    bool busy = false;
  };

  void Connect();
  void GoAway();
  void Hear(const v1::CoordinatorMessage& message);
  absl::Status HandIn(const v1::ContributionHeader& header, std::string_view bytes);

  void Carry(const Duties& duties);
  void Carry(const SendReply& duty) { Send(duty.reply); }
  void Carry(const Study& duty);
  void Carry(const Train& duty);
  void Carry(const StopTraining&) { control_->Stop(); }
  void Carry(const PauseTraining&) { control_->Pause(); }
  void Carry(const ResumeTraining&) { control_->Resume(); }
  void Carry(const fedtune::Submit& duty);
  void Carry(const StopSubmitting&) {}  // Nothing is handed in for any time.
  void Carry(const Answer& duty);
  void Carry(const EndAggregation& duty);
  void Carry(const KeepOnly&) {}
  void Carry(const LookAtLog&) {}  // No coordinator of a simulation keeps one.
  void Carry(const Forget& duty);

  std::function<absl::Status()> Begin(const Train& duty);
  void Post(Lane& lane, absl::Duration time, std::function<void()> task);
  void DoNext(Lane& lane);
  void Report(const fedtune::Report& report);
  void Wake();
  Moment Now() const;

  const std::string name_;
  Temperament temperament_;
  const std::unique_ptr<LocalWorkshop> workshop_;
  const double bytes_down_;
  const double bytes_up_;
  const TrainingPool pool_;
  Scheduler& scheduler_;
  CoordinatorPort& coordinator_;
  WireBytes& wire_;

  ClientState state_;
  std::shared_ptr<WorkControl> control_;
  int64_t session_ = 0;  // Messages of an older one do not arrive.
  bool connected_ = false;
  absl::Duration heard_at_ = absl::ZeroDuration();
  absl::Duration said_at_ = absl::ZeroDuration();
  Lane study_;
  Lane training_;
  Lane submission_;
  std::optional<absl::Duration> wakes_at_;
};

}  // namespace fedtune::simulation
