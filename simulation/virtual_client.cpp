// SPDX-License-Identifier: Apache-2.0

#include "simulation/virtual_client.h"

#include <algorithm>
#include <future>
#include <vector>

#include "aggregation/adapter_bytes.h"
#include "base/check.h"
#include "base/status_macros.h"
#include "client/transport/conversion.h"

namespace fedtune::simulation {
namespace {

constexpr absl::Duration kFirstConnections = absl::Seconds(1);

}  // namespace

VirtualClient::VirtualClient(Parts parts, Scheduler& scheduler, CoordinatorPort& coordinator,
                             WireBytes& wire)
    : name_(std::move(parts.name)),
      temperament_(std::move(parts.temperament)),
      workshop_(std::move(parts.workshop)),
      bytes_down_(parts.bytes_down),
      bytes_up_(parts.bytes_up),
      pool_(std::move(parts.pool)),
      scheduler_(scheduler),
      coordinator_(coordinator),
      wire_(wire),
      state_(Hours(), absl::UTCTimeZone()) {}

Moment VirtualClient::Now() const {
  return {absl::UnixEpoch() + scheduler_.now(), scheduler_.now()};
}

// ---- The session ----

void VirtualClient::Start() {
  scheduler_.After(kFirstConnections * temperament_.Share(), [this] { Connect(); });
}

// Messages keep their order.
void VirtualClient::Connect() {
  connected_ = true;
  const int64_t session = ++session_;
  coordinator_.Connect(name_, [this, session](const auto& message) {
    heard_at_ = std::max(heard_at_, scheduler_.now() + temperament_.latency());
    scheduler_.At(heard_at_, [this, session, message] {
      if (session == session_ && connected_) Hear(*message);
    });
  });
}

void VirtualClient::GoAway() {
  if (!connected_) return;
  connected_ = false;
  coordinator_.Disconnect(name_);
  scheduler_.After(temperament_.TimeAway(), [this] { Connect(); });
}

void VirtualClient::Hear(const v1::CoordinatorMessage& message) {
  wire_.down += message.ByteSizeLong();
  if (message.has_welcome()) {
    return Carry(state_.Welcomed(WelcomeFromProto(message.welcome()), Now()));
  }
  const auto instruction = InstructionFromProto(message);
  Check(instruction.ok(), "a coordinator's message can be read");
  Carry(state_.Receive(*instruction, Now()));
}

void VirtualClient::Send(const Reply& reply) {
  if (!connected_) return;
  auto message = std::make_shared<v1::ClientMessage>(ReplyToProto(reply));
  said_at_ = std::max(said_at_, scheduler_.now() + temperament_.latency());
  scheduler_.At(said_at_, [this, session = session_, message] {
    if (session != session_ || !connected_) return;
    wire_.up += message->ByteSizeLong();
    coordinator_.Receive(name_, *message);
  });
}

// ---- Calls ----

absl::StatusOr<std::vector<float>> VirtualClient::FetchAdapter(WantedAdapter wanted,
                                                               std::stop_token,
                                                               const TransferObserver&) {
  wire_.down += static_cast<uint64_t>(wanted.value_count) * sizeof(float);
  ASSIGN_OR_RETURN(const std::string bytes, coordinator_.Fetch(wanted.digest));
  return ValuesFromBytes(bytes, wanted.value_count, "the adapter");
}

absl::Status VirtualClient::Submit(std::shared_ptr<const Contribution> contribution,
                                   std::stop_token) {
  return HandIn(HeaderToProto(*contribution), ValueBytes(contribution->delta));
}

absl::Status VirtualClient::SubmitMasked(std::shared_ptr<const MaskedContribution> contribution,
                                         std::stop_token) {
  const Bytes& elements = contribution->elements;
  return HandIn(HeaderToProto(*contribution),
                {reinterpret_cast<const char*>(elements.data()), elements.size()});
}

absl::StatusOr<LogProof> VirtualClient::ProveLog(const LogQuestion&, std::stop_token) {
  return absl::UnimplementedError("its clients keep no eye on a log");
}

absl::Status VirtualClient::HandIn(const v1::ContributionHeader& header, std::string_view bytes) {
  if (!connected_) return absl::UnavailableError("no answer");
  wire_.up += header.ByteSizeLong() + bytes.size();
  return coordinator_.Submit(name_, header, bytes);
}

// ---- What ClientDaemon does with duties ----

void VirtualClient::Carry(const Duties& duties) {
  for (const Duty& duty : duties) {
    std::visit([this](const auto& kind) { Carry(kind); }, duty);
  }
  Wake();
}

void VirtualClient::Report(const fedtune::Report& report) { Carry(state_.Receive(report, Now())); }

void VirtualClient::Carry(const Study& duty) {
  Post(study_, temperament_.ShortTime(), [this, invitation = duty.invitation] {
    Report(Studied{*workshop_->Study(invitation, *this, {})});
  });
}

void VirtualClient::Carry(const Train& duty) {
  control_ = std::make_shared<WorkControl>();
  const absl::Duration time =
      temperament_.TransferTime(bytes_down_) +
      (duty.assignment.evaluate_only ? temperament_.ShortTime() : temperament_.TrainingTime());
  if (temperament_.DropsOut()) {
    scheduler_.After(time * temperament_.Share(), [this] { GoAway(); });
  }
  Post(training_, time, [this, id = duty.assignment.id, work = Begin(duty)] {
    Report(Trained{id, work()});
  });
}

// Who calls what it returns gets the work's outcome, and its progress all at once.
std::function<absl::Status()> VirtualClient::Begin(const Train& duty) {
  struct Work {
    std::promise<absl::Status> outcome;
    std::vector<WorkProgress> progress = {};
  };
  const auto work = std::make_shared<Work>();
  const auto perform = [this, work, assignment = duty.assignment, control = control_] {
    work->outcome.set_value(workshop_->Work(assignment, *this, *control, [&](const auto& progress) {
      work->progress.push_back(progress);
    }));
  };
  if (pool_) pool_(perform);
  return [this, work, perform] {
    if (!pool_) perform();
    absl::Status status = work->outcome.get_future().get();
    for (const WorkProgress& progress : work->progress) Report(Progressed{progress});
    return status;
  };
}

void VirtualClient::Carry(const fedtune::Submit& duty) {
  Post(submission_, temperament_.TransferTime(bytes_up_), [this, id = duty.id] {
    auto outcome = workshop_->Submit(id, *this, {});
    if (outcome) Report(Submitted{id, *std::move(outcome)});
  });
}

void VirtualClient::Carry(const Answer& duty) {
  Post(submission_, temperament_.ShortTime(), [this, duty] {
    auto outcome = workshop_->Answer(duty.assignment, duty.message, *this, {});
    if (outcome) Report(Submitted{duty.assignment.id, *std::move(outcome)});
  });
}

void VirtualClient::Carry(const EndAggregation& duty) {
  Post(submission_, absl::ZeroDuration(), [this, run = duty.run] {
    Check(workshop_->EndAggregation(run).ok(), "a journal in memory can be written");
  });
}

void VirtualClient::Carry(const Forget& duty) {
  workshop_->Forget(duty.run);
  Carry(EndAggregation{duty.run});
}

void VirtualClient::Post(Lane& lane, absl::Duration time, std::function<void()> task) {
  lane.waiting.emplace_back(time, std::move(task));
  if (!lane.busy) DoNext(lane);
}

void VirtualClient::DoNext(Lane& lane) {
  lane.busy = !lane.waiting.empty();
  if (!lane.busy) return;
  auto [time, task] = std::move(lane.waiting.front());
  lane.waiting.pop_front();
  scheduler_.After(time, [this, &lane, task = std::move(task)] {
    task();
    DoNext(lane);
  });
}

// At the state's hour. Its clock does not jump, so that hour stands.
void VirtualClient::Wake() {
  if (!state_.wake_at() || wakes_at_ == state_.wake_at()) return;
  wakes_at_ = state_.wake_at();
  const absl::Duration wait = std::max(*wakes_at_ - scheduler_.now(), absl::Milliseconds(1));
  scheduler_.After(wait, [this, hour = *wakes_at_] {
    if (wakes_at_ != hour) return;
    wakes_at_.reset();
    Carry(state_.Tick(Now()));
  });
}

}  // namespace fedtune::simulation
