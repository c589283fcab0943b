// SPDX-License-Identifier: Apache-2.0

#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>
#include <grpcpp/support/client_interceptor.h>

#include <future>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "client/transport/session.h"
#include "gtest/gtest.h"
#include "rpc/channel.h"

namespace fedtune {
namespace {

constexpr absl::Duration kAWhile = absl::Seconds(1);

// Welcomes whoever greets it, and hears one answer.
class WelcomingCoordinator final : public v1::Training::Service {
 public:
  WelcomingCoordinator() {
    SetUpRpcLibrary();
    grpc::ServerBuilder builder;
    builder.AddListeningPort("localhost:0", grpc::InsecureServerCredentials(), &port_);
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
  }
  ~WelcomingCoordinator() override { server_->Shutdown(absl::ToChronoTime(absl::Now())); }

  std::string address() const { return "localhost:" + std::to_string(port_); }

  // Waits for it.
  v1::ClientMessage Answer() { return answer_.get_future().get(); }

 private:
  grpc::Status Session(
      grpc::ServerContext*,
      grpc::ServerReaderWriter<v1::CoordinatorMessage, v1::ClientMessage>* stream) override {
    v1::ClientMessage message;
    stream->Read(&message);
    v1::CoordinatorMessage welcome;
    welcome.mutable_welcome()->set_federation("north");
    stream->Write(welcome);
    if (stream->Read(&message)) answer_.set_value(message);
    return grpc::Status::OK;
  }

  int port_ = 0;
  std::promise<v1::ClientMessage> answer_;
  std::unique_ptr<grpc::Server> server_;
};

// Answers the welcome.
class AnsweringListener final : public SessionListener {
 public:
  absl::Status OnWelcome(const Welcome&) override {
    session.get_future().get()->Send(InvitationAnswer{.run = "run-7f3a"});
    answered.Notify();
    return absl::OkStatus();
  }
  absl::Status OnInstruction(const Instruction&) override { return absl::OkStatus(); }
  void OnLost(const absl::Status&, absl::Duration) override {}

  std::promise<StandingSession*> session;
  absl::Notification answered;
};

// Whoever starts the call gets no processor time for a while, as on a busy machine: from when
// the greeting is on its way until the welcome has been answered, unless that waits for it.
class SlowStart final : public grpc::experimental::Interceptor {
 public:
  explicit SlowStart(const absl::Notification& answered) : answered_(answered) {}

  void Intercept(grpc::experimental::InterceptorBatchMethods* methods) override {
    using grpc::experimental::InterceptionHookPoints;
    const bool is_greeting =
        methods->QueryInterceptionHookPoint(InterceptionHookPoints::PRE_SEND_MESSAGE) &&
        !std::exchange(has_greeted_, true);
    methods->Proceed();
    if (is_greeting) answered_.WaitForNotificationWithTimeout(kAWhile);
  }

 private:
  const absl::Notification& answered_;
  bool has_greeted_ = false;
};

class SlowStarts final : public grpc::experimental::ClientInterceptorFactoryInterface {
 public:
  explicit SlowStarts(const absl::Notification& answered) : answered_(answered) {}

  grpc::experimental::Interceptor* CreateClientInterceptor(
      grpc::experimental::ClientRpcInfo*) override {
    return new SlowStart(answered_);
  }

 private:
  const absl::Notification& answered_;
};

TEST(StandingSessionTest, AnswersAWelcomeThatComesBeforeItsCallHasBegunForUs) {
  WelcomingCoordinator hub;
  AnsweringListener listener;
  std::vector<std::unique_ptr<grpc::experimental::ClientInterceptorFactoryInterface>> slow;
  slow.push_back(std::make_unique<SlowStarts>(listener.answered));
  const auto channel = grpc::experimental::CreateCustomChannelWithInterceptors(
      hub.address(), grpc::InsecureChannelCredentials(), {}, std::move(slow));
  StandingSession session([&] { return Connection{.channel = channel, .left = {}}; }, {}, listener);
  listener.session.set_value(&session);
  EXPECT_EQ(hub.Answer().run_decision().run_id(), "run-7f3a");
}

}  // namespace
}  // namespace fedtune
