// SPDX-License-Identifier: Apache-2.0

#include "coordinator/rpc/session_stream.h"

#include <algorithm>
#include <utility>

#include "base/status_macros.h"
#include "coordinator/rpc/invitation_message.h"
#include "coordinator/rpc/status_conversion.h"
#include "coordinator/rpc/training_conversion.h"
#include "rpc/chunks.h"

namespace fedtune {
namespace {

// More than any run has to say before a client reads again.
constexpr size_t kMaxWaitingMessages = 256;

// The time of day may jump meanwhile.
constexpr absl::Duration kLooksAtCertificate = absl::Seconds(30);

}  // namespace

SessionStream* SessionStream::Begin(const ContributionUpload::Surroundings& around,
                                    const Caller& caller, grpc::CallbackServerContext& context,
                                    OpenStreams& streams, OpenCalls::Place place) {
  const std::shared_ptr<SessionStream> session(
      new SessionStream(around, caller, context, std::move(place)));
  session->self_ = session;
  session->ReadNext();
  session->LookAtCertificate();
  streams.Add(session);
  return session.get();
}

void SessionStream::LookAtCertificate() {
  const absl::Duration left = caller_.certificate_expires - clock_.Now();
  if (left < absl::ZeroDuration()) return Close(HasExpired(caller_.identity));
  timers_.After(std::min(left + absl::Seconds(1), kLooksAtCertificate), [weak = weak_from_this()] {
    if (const auto session = weak.lock()) session->LookAtCertificate();
  });
}

void SessionStream::ReadNext() {
  const std::lock_guard lock(mutex_);
  if (!finished_) StartRead(&incoming_);
}

void SessionStream::OnReadDone(bool ok) {
  if (!ok) {
    Leave();
    return Close(absl::OkStatus());
  }
  const auto message = ParseMessage<v1::ClientMessage>(incoming_);
  const absl::Status taken = message.ok() ? Take(*message) : message.status();
  if (taken.ok()) return ReadNext();
  Leave();
  Close(taken);
}

absl::Status SessionStream::Take(const v1::ClientMessage& message) {
  if (!client_.has_value()) {
    if (!message.has_hello()) return absl::InvalidArgumentError("a session begins with a hello");
    SayHello(message.hello());
    return absl::OkStatus();
  }
  ASSIGN_OR_RETURN(RunClientEvent event, FromMessage(message));
  gateway_.Receive(client_->institution, event.run, std::move(event.event));
  return absl::OkStatus();
}

void SessionStream::SayHello(const v1::Hello& hello) {
  client_ = FromMessage(hello);
  client_->institution = {caller_.identity.name};
  client_->certificate_expires = caller_.certificate_expires;
  Enqueue(BytesOf(WelcomeMessage(caller_.identity.federation, client_->institution,
                                 gateway_.RunsUnderWayFor(client_->institution))));
  gateway_.Connect(*client_, shared_from_this());
}

void SessionStream::Leave() {
  {
    const std::lock_guard lock(mutex_);
    if (std::exchange(left_, true)) return;
  }
  if (client_.has_value()) gateway_.Disconnect(*client_, this);
}

void SessionStream::Send(const ClientCommand& command) {
  const auto* invitation = std::get_if<RunInvitation>(&command.what);
  Enqueue(invitation == nullptr ? BytesOf(ToMessage(command))
                                : InvitationMessage(command.run, *invitation));
}

void SessionStream::Enqueue(grpc::ByteBuffer message) {
  const std::lock_guard lock(mutex_);
  if (closing_.has_value()) return;
  outgoing_.push_back(std::move(message));
  if (outgoing_.size() > kMaxWaitingMessages) {
    const absl::Status reason = absl::ResourceExhaustedError("this client does not read");
    closing_ = ToGrpcStatus(reason);
    DropWaiting();
    // Whoever sends may hold locks that the end of the call asks for.
    timers_.After(absl::ZeroDuration(), [weak = weak_from_this(), reason] {
      if (const auto session = weak.lock()) session->Abandon(reason);
    });
  }
  if (!writing_) WriteNext();
}

void SessionStream::Close(absl::Status reason) {
  const std::lock_guard lock(mutex_);
  if (closing_.has_value()) return;
  closing_ = ToGrpcStatus(reason);
  if (!writing_) WriteNext();
}

// Also of a call that has finished, where what was written waits for somebody to read it. The
// call is there until OnDone(), which waits for this to be over.
void SessionStream::Abandon(absl::Status reason) {
  std::unique_lock lock(mutex_);
  if (!closing_.has_value()) closing_ = ToGrpcStatus(reason);
  DropWaiting();
  if (finished_ && !done_) context_.TryCancel();
  if (writing_ && !cancelling_) {
    cancelling_ = true;
    lock.unlock();
    context_.TryCancel();
    lock.lock();
    cancelling_ = false;
  }
  if (!writing_) WriteNext();
}

// All but what is being written.
void SessionStream::DropWaiting() {
  outgoing_.erase(outgoing_.begin() + (writing_ ? 1 : 0), outgoing_.end());
}

void SessionStream::WriteNext() {
  if (finished_ || cancelling_) return;
  if (!outgoing_.empty()) {
    writing_ = true;
    StartWrite(&outgoing_.front());
  } else if (closing_.has_value()) {
    finished_ = true;
    Finish(*closing_);
  }
}

void SessionStream::OnWriteDone(bool ok) {
  const std::lock_guard lock(mutex_);
  writing_ = false;
  outgoing_.pop_front();
  if (!ok) {
    outgoing_.clear();
    if (!closing_.has_value()) closing_ = grpc::Status::CANCELLED;
  }
  WriteNext();
}

void SessionStream::OnCancel() { Close(absl::CancelledError("the connection is gone")); }

void SessionStream::OnDone() {
  {
    const std::lock_guard lock(mutex_);
    done_ = true;
  }
  Leave();
  self_.reset();
}

}  // namespace fedtune
