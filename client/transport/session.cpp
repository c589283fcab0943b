// SPDX-License-Identifier: Apache-2.0

#include "client/transport/session.h"

#include <condition_variable>
#include <deque>
#include <optional>
#include <utility>

#include "base/status_macros.h"
#include "client/transport/backoff.h"
#include "client/transport/conversion.h"
#include "rpc/channel.h"

namespace fedtune {
namespace {

// More than ever waits on a line whose other end reads.
constexpr size_t kLongestQueue = 256;

// Whether a session that a welcome began may be begun again at once. Not where one side does
// not take what the other says, as of another version: it would say so again.
bool MayGoOnAtOnce(const absl::Status& end) {
  return !absl::IsInvalidArgument(end) && !absl::IsResourceExhausted(end);
}

}  // namespace

// One session, from its call to its end. Thread-safe.
class StandingSession::Line final
    : public grpc::ClientBidiReactor<v1::ClientMessage, v1::CoordinatorMessage> {
 public:
  Line(v1::Training::Stub& stub, const Greeting& greeting, SessionListener& listener)
      : listener_(listener) {
    stub.async()->Session(&context_, this);
    AddHold();  // Send() starts writes outside of reactions.
    Send(GreetingToProto(greeting));
    StartRead(&incoming_);
  }

  // Once, when whoever answers what comes can Send().
  void Start() { StartCall(); }

  void Send(v1::ClientMessage message) {
    const std::lock_guard lock(mutex_);
    if (closed_) return;
    if (outgoing_.size() >= kLongestQueue) return context_.TryCancel();
    outgoing_.push_back(std::move(message));
    if (outgoing_.size() == 1) StartWrite(&outgoing_.front());
  }

  void Cancel() { context_.TryCancel(); }

  // Waits for the end of the session; the object may go afterwards.
  absl::Status AwaitEnd() {
    std::unique_lock lock(mutex_);
    ended_.wait(lock, [this] { return status_.has_value(); });
    return refused_.ok() ? *status_ : refused_;
  }

  // Requires: AwaitEnd() has returned.
  bool welcomed() const { return welcomed_; }

  void OnReadDone(bool ok) override {
    if (!ok) return Close();
    // What comes behind a message that was not taken is of no use without it.
    if (refused_.ok()) {
      refused_ = Dispatch();
      if (!refused_.ok()) context_.TryCancel();
    }
    StartRead(&incoming_);
  }

  void OnWriteDone(bool ok) override {
    const std::lock_guard lock(mutex_);
    if (!ok) closed_ = true;
    outgoing_.pop_front();
    if (!closed_ && !outgoing_.empty()) StartWrite(&outgoing_.front());
  }

  void OnDone(const grpc::Status& status) override {
    const std::lock_guard lock(mutex_);
    status_ = StatusFromRpc(status);
    ended_.notify_all();
  }

 private:
  absl::Status Dispatch() {
    if (incoming_.has_welcome()) {
      welcomed_ = true;
      return listener_.OnWelcome(WelcomeFromProto(incoming_.welcome()));
    }
    ASSIGN_OR_RETURN(const Instruction instruction, InstructionFromProto(incoming_));
    return listener_.OnInstruction(instruction);
  }

  void Close() {
    {
      const std::lock_guard lock(mutex_);
      closed_ = true;
    }
    RemoveHold();
  }

  SessionListener& listener_;
  grpc::ClientContext context_;
  v1::CoordinatorMessage incoming_;
  bool welcomed_ = false;  // Written by reactions, which come one at a time.
  absl::Status refused_;   // Likewise: the first message that was not taken, and why.

  std::mutex mutex_;
  std::condition_variable ended_;
  std::deque<v1::ClientMessage> outgoing_;  // The first one is being written.
  bool closed_ = false;
  std::optional<absl::Status> status_;
};

StandingSession::StandingSession(ConnectionGiver connection, Greeting greeting,
                                 SessionListener& listener)
    : connection_(std::move(connection)),
      greeting_(std::move(greeting)),
      listener_(listener),
      thread_([this](const std::stop_token& stop) { Run(stop); }) {}

StandingSession::~StandingSession() = default;

void StandingSession::Send(const Reply& reply) {
  const std::lock_guard lock(mutex_);
  if (line_ != nullptr) line_->Send(ReplyToProto(reply));
}

void StandingSession::Run(const std::stop_token& stop) {
  Backoff backoff;
  std::mutex mutex;
  std::condition_variable_any stopped;
  while (!stop.stop_requested()) {
    bool welcomed = false;
    const absl::Status reason = HoldLine(stop, welcomed);
    if (stop.stop_requested()) return;
    if (welcomed && MayGoOnAtOnce(reason)) backoff.Reset();
    const absl::Duration pause = backoff.Next();
    listener_.OnLost(reason, pause);
    std::unique_lock lock(mutex);
    stopped.wait_for(lock, stop, absl::ToChronoMilliseconds(pause), [] { return false; });
  }
}

absl::Status StandingSession::HoldLine(const std::stop_token& stop, bool& welcomed) {
  const Connection connection = connection_();
  const auto stub = v1::Training::NewStub(connection.channel);
  Line line(*stub, greeting_, listener_);
  {
    const std::lock_guard lock(mutex_);
    line_ = &line;
  }
  line.Start();
  const std::stop_callback cancel(stop, [&line] { line.Cancel(); });
  const std::stop_callback leave(connection.left, [&line] { line.Cancel(); });
  const absl::Status reason = line.AwaitEnd();
  {
    const std::lock_guard lock(mutex_);
    line_ = nullptr;
  }
  welcomed = line.welcomed();
  if (absl::IsCancelled(reason) && connection.left.stop_requested()) return LeftConnection();
  return reason.ok() ? absl::UnavailableError("the coordinator ended the session") : reason;
}

}  // namespace fedtune
