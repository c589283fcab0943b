// SPDX-License-Identifier: Apache-2.0

// A coordinator that may have 512 MiB, and many clients whose contributions come to more.

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/time/time.h"
#include "fmt/format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/child_process.h"
#include "tests/support/server_fixture.h"

namespace fedtune::testing {
namespace {

constexpr uint64_t kMebi = uint64_t{1} << 20;
constexpr uint64_t kLimitMiB = 512;

// A number of the environment, for those who have the time for larger ones.
uint64_t Configured(const char* variable, uint64_t otherwise) {
  const char* value = std::getenv(variable);
  uint64_t number = 0;
  return value != nullptr && absl::SimpleAtoi(value, &number) ? number : otherwise;
}

// The run's server rule, likewise; the one that remembers most, unless another is named.
std::string ServerRule() {
  const char* rule = std::getenv("FEDTUNE_MEMORY_TEST_OPTIMIZER");
  return fmt::format("[server]\noptimizer = \"{}\"\n", rule == nullptr ? "adam" : rule);
}

// A group of processes that have so much memory together; none where this user may not
// make one. Goes with the scope, after its processes.
class MemoryGroup {
 public:
  MemoryGroup() {
    const std::filesystem::path root = "/sys/fs/cgroup";
    const bool is_v1 = std::filesystem::exists(root / "memory/memory.limit_in_bytes");
    const auto folder = (is_v1 ? root / "memory" : root) / fmt::format("fedtune-{}", ::getpid());
    std::error_code error;
    if (!std::filesystem::create_directory(folder, error)) return;
    folder_ = folder;
    std::ofstream limit(folder / (is_v1 ? "memory.limit_in_bytes" : "memory.max"));
    limit << kLimitMiB * kMebi << std::flush;
    is_limited_ = limit.good();
  }
  MemoryGroup(const MemoryGroup&) = delete;
  MemoryGroup& operator=(const MemoryGroup&) = delete;
  ~MemoryGroup() {
    if (!folder_.empty()) ::rmdir(folder_.c_str());
  }

  bool is_limited() const { return is_limited_; }

  // The command that runs another one in the group.
  std::string Enter() const { return fmt::format("echo $$ > {}/cgroup.procs", folder_.string()); }

 private:
  std::filesystem::path folder_;
  bool is_limited_ = false;
};

class MemoryLimitTest : public ServerTest {
 protected:
  void SetUp() override {
    if (!group_.is_limited()) GTEST_SKIP() << "this user may not limit memory by control groups";
    server_.reset();
    coordinator_ = std::make_unique<ChildProcess>(
        std::vector<std::string>{
            "/bin/sh", "-c",
            fmt::format("{} && exec {} serve --listen 127.0.0.1:0 --state-dir {} --certificate {} "
                        "--key {} --authority {}",
                        group_.Enter(), FEDTUNE_COORDINATOR, (directory_.path() / "state").string(),
                        credentials_.certificate.string(), credentials_.key.string(),
                        credentials_.authority.string())},
        directory_.path() / "coordinator.log");
    const std::string line = coordinator_->ReadLine();
    ASSERT_THAT(line, ::testing::StartsWith("listening on ")) << coordinator_->Errors();
    port_ = std::stoi(line.substr(line.rfind(':') + 1));
  }

  std::unique_ptr<v1::Administration::Stub> Grace() const {
    return v1::Administration::NewStub(
        federation_.Connect(port_, federation_.Issue(Role::kAdministrator, "grace")));
  }

  // One layer, whose adapter has as many values.
  v1::StartRunRequest RequestOf(int64_t values, int clients) const {
    v1::StartRunRequest request = StartRequest(1, clients);
    BaseModelDescription model = *BaseModelDescriptionFromJson(TinyModelJson());
    model.linear_layers[0].in_features = values / 2;
    model.linear_layers[0].out_features = values - values / 2;
    request.set_base_model_json(ToJson(model));
    request.set_plan_toml(request.plan_toml() + ServerRule());
    return request;
  }

  uint64_t PeakMiB() const {
    std::ifstream status(fmt::format("/proc/{}/status", coordinator_->pid()));
    for (std::string line; std::getline(status, line);) {
      if (line.starts_with("VmHWM:")) return std::stoull(line.substr(6)) >> 10;
    }
    return 0;
  }

  // A round to which `count` clients contribute `update` MiB each, at the same time.
  void PlayRound(uint64_t update, int count) {
    const auto values = static_cast<int64_t>(update * kMebi / sizeof(float));
    std::vector<std::unique_ptr<FakeClient>> clients;
    for (int i = 0; i < count; ++i) {
      clients.push_back(std::make_unique<FakeClient>(federation_.Connect(
          port_, federation_.Issue(Role::kClient, fmt::format("client-{}", i)))));
      clients.back()->SayHello();
      ASSERT_TRUE(clients.back()->Receive().has_welcome());
    }
    const auto grace = Grace();
    grpc::ClientContext starting;
    v1::StartRunResponse started;
    ASSERT_THAT(grace->StartRun(&starting, RequestOf(values, count), &started), IsGrpcOk());
    for (const auto& client : clients) client->Join(5);
    const std::string bytes(ValueBytes(std::vector<float>(values, 0.5)));
    std::vector<std::thread> uploads;
    for (const auto& client : clients) {
      uploads.emplace_back([&bytes, &client] {
        const v1::RoundAssignment work = client->Receive().round_assignment();
        EXPECT_THAT(client->Submit(client->HeaderFor(work, bytes), bytes), IsGrpcOk());
      });
    }
    for (std::thread& upload : uploads) upload.join();
    AwaitRelease(*grace, started.run().run_id());
    fmt::print("{} contributions of {} MiB: the coordinator's peak was {} MiB\n", count, update,
               PeakMiB());
    EXPECT_GT(PeakMiB(), 0) << "it was killed: " << coordinator_->Errors();
  }

  void AwaitRelease(v1::Administration::Stub& grace, const std::string& run) const {
    grpc::ClientContext watching;
    v1::WatchRunRequest request;
    request.set_run_id(run);
    const auto reader = grace.WatchRun(&watching, request);
    v1::RunStatus status;
    while (reader->Read(&status) && status.rounds_done() == 0) {
    }
    EXPECT_EQ(status.rounds_done(), 1) << coordinator_->Errors();
    watching.TryCancel();
    reader->Finish();
  }

  const MemoryGroup group_;
  std::unique_ptr<ChildProcess> coordinator_;
  int port_ = 0;
};

TEST_F(MemoryLimitTest, ManyLargeContributionsDoNotFillIt) {
  const uint64_t update = Configured("FEDTUNE_MEMORY_TEST_MIB", 32);
  const int count = static_cast<int>(Configured("FEDTUNE_MEMORY_TEST_CLIENTS", 24));
  PlayRound(update, count);
  EXPECT_LE(PeakMiB(), 4 * update + 256);
}

// Adapters and the optimiser's states lie in files: the system can have their memory back.
TEST_F(MemoryLimitTest, AnUpdateOfHalfOfItFits) { PlayRound(kLimitMiB / 2, 4); }

}  // namespace
}  // namespace fedtune::testing
