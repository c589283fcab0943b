// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>

#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "base/check.h"
#include "base/files.h"
#include "privacy/identity/key_directory.h"
#include "proto/fedtune/v1/training.grpc.pb.h"
#include "rpc/upload.h"

namespace fedtune::testing {

// A coordinator that says what a test tells it to, on a port of its own, over
// mutual TLS.
class FakeCoordinator final : public v1::Training::Service {
 public:
  explicit FakeCoordinator(const CredentialFiles& files) {
    grpc::SslServerCredentialsOptions tls(
        GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
    tls.pem_root_certs = *ReadFile(files.authority);
    tls.pem_key_cert_pairs.push_back({*ReadFile(files.key), *ReadFile(files.certificate)});
    grpc::ServerBuilder builder;
    builder.AddListeningPort("localhost:0", grpc::SslServerCredentials(tls), &port_);
    builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_PING_STRIKES, 0);  // Tests are in a hurry.
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
    Check(server_ != nullptr, "no port for the fake coordinator");
  }

  ~FakeCoordinator() override {
    Release();
    server_->Shutdown(absl::ToChronoTime(absl::Now()));
  }

  std::string address() const { return "localhost:" + std::to_string(port_); }
  int port() const { return port_; }

  // ---- What it does ----

  std::vector<v1::CoordinatorMessage> script;  // Sent after the welcome.
  bool compresses = false;                     // What it says in sessions.
  bool ends_first_session = false;
  grpc::Status first_answer;  // To the first session; unless OK it ends there.
  std::string blob;
  size_t breaks_at = 0;  // The first fetch ends here; 0: it does not.
  size_t holds_at = 0;   // The first fetch stands still here; 0: it does not.
  absl::Duration pauses_before_each_fetch = absl::ZeroDuration();
  grpc::Status first_fetch;           // Of a blob; unless OK it ends there.
  grpc::Status verdict;               // On contributions.
  std::string received_before = "0";  // What it tells of every contribution.
  bool holds_first_upload = false;    // It stands still after its first chunk.

  // What stands still goes on.
  void Release() {
    const std::lock_guard lock(mutex_);
    released_ = true;
    put_.notify_all();
  }

  v1::ProveLogResponse log;               // What it answers of its log,
  std::vector<grpc::Status> log_answers;  // after these.
  bool holds_first_question = false;      // It is not answered.
  grpc::Status log_verdict;               // Unless OK it answers this, each time.

  // ---- What it was told; each waits until there is one ----

  v1::ClientMessage NextMessage() { return Next(messages_); }
  std::string NextPeer() { return Next(peers_); }  // Of a session: who calls, from which port.
  v1::ContributionHeader NextHeader() { return Next(headers_); }
  std::string NextDelta() { return Next(deltas_); }
  uint64_t NextOffset() { return Next(offsets_); }            // Of a fetch.
  std::string NextHeldChunk() { return Next(held_chunks_); }  // Of the upload that stands still.
  v1::ProveLogRequest NextQuestion() { return Next(questions_); }

 private:
  grpc::Status Session(
      grpc::ServerContext* context,
      grpc::ServerReaderWriter<v1::CoordinatorMessage, v1::ClientMessage>* stream) override {
    Put(peers_, context->peer());
    if (compresses) context->set_compression_algorithm(GRPC_COMPRESS_GZIP);
    if (!first_answer.ok()) return std::exchange(first_answer, grpc::Status::OK);
    v1::ClientMessage hello;
    stream->Read(&hello);
    Put(messages_, hello);
    v1::CoordinatorMessage welcome;
    welcome.mutable_welcome()->set_federation("north");
    stream->Write(welcome);
    if (std::exchange(ends_first_session, false)) return grpc::Status::OK;
    for (const v1::CoordinatorMessage& line : script) stream->Write(line);
    v1::ClientMessage message;
    while (stream->Read(&message)) Put(messages_, message);
    return grpc::Status::OK;
  }

  grpc::Status FetchBlob(grpc::ServerContext*, const v1::FetchBlobRequest* request,
                         grpc::ServerWriter<v1::BlobChunk>* writer) override {
    if (!first_fetch.ok()) return std::exchange(first_fetch, grpc::Status::OK);
    if (blob.empty()) return {grpc::StatusCode::NOT_FOUND, "no such blob"};
    absl::SleepFor(pauses_before_each_fetch);
    Put(offsets_, request->offset());
    for (size_t offset = request->offset(); offset < blob.size();) {
      if (breaks_at > 0 && offset >= breaks_at) {
        breaks_at = 0;
        return {grpc::StatusCode::UNAVAILABLE, "cut"};
      }
      if (holds_at > 0 && offset >= holds_at) {
        holds_at = 0;
        Hold();
      }
      v1::BlobChunk chunk;
      chunk.set_offset(offset);
      chunk.set_data(blob.substr(offset, 1001));  // Values are cut.
      offset += chunk.data().size();
      writer->Write(chunk);
    }
    return grpc::Status::OK;
  }

  grpc::Status SubmitContribution(grpc::ServerContext* context,
                                  grpc::ServerReader<v1::SubmitContributionRequest>* reader,
                                  v1::SubmitContributionResponse*) override {
    v1::SubmitContributionRequest part;
    reader->Read(&part);
    Put(headers_, part.header());
    if (!verdict.ok()) return verdict;
    context->AddInitialMetadata(kReceivedBytes, received_before);
    reader->SendInitialMetadata();
    std::string delta;
    if (std::exchange(holds_first_upload, false)) {
      reader->Read(&part);
      delta = part.chunk().data();
      Put(held_chunks_, delta);
      Hold();
    }
    while (reader->Read(&part)) delta += part.chunk().data();
    Put(deltas_, delta);
    return grpc::Status::OK;
  }

  grpc::Status ProveLog(grpc::ServerContext*, const v1::ProveLogRequest* request,
                        v1::ProveLogResponse* response) override {
    Put(questions_, *request);
    if (std::exchange(holds_first_question, false)) Hold();
    if (!log_answers.empty()) {
      const grpc::Status answer = log_answers.front();
      log_answers.erase(log_answers.begin());
      return answer;
    }
    *response = log;
    return log_verdict;
  }

  void Hold() {
    std::unique_lock lock(mutex_);
    put_.wait(lock, [this] { return released_; });
  }

  template <typename T>
  void Put(std::deque<T>& queue, T item) {
    const std::lock_guard lock(mutex_);
    queue.push_back(std::move(item));
    put_.notify_all();
  }

  template <typename T>
  T Next(std::deque<T>& queue) {
    std::unique_lock lock(mutex_);
    put_.wait(lock, [&] { return !queue.empty(); });
    T item = std::move(queue.front());
    queue.pop_front();
    return item;
  }

  std::mutex mutex_;
  std::condition_variable put_;
  std::deque<v1::ClientMessage> messages_;
  std::deque<std::string> peers_;
  std::deque<v1::ContributionHeader> headers_;
  std::deque<std::string> deltas_;
  std::deque<uint64_t> offsets_;
  std::deque<std::string> held_chunks_;
  bool released_ = false;
  std::deque<v1::ProveLogRequest> questions_;
  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace fedtune::testing
