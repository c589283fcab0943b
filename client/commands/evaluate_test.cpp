// SPDX-License-Identifier: Apache-2.0

#include "client/commands/evaluate.h"

#include <cstdio>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/exit_code.h"
#include "base/files.h"
#include "base/status.h"
#include "client/training/overflow.h"
#include "gmock/gmock.h"
#include "model/checkpoint/peft_adapter.h"
#include "tests/support/fake_clock.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace fedtune {
namespace {

using ::fedtune::testing::IsOk;
using ::testing::StartsWith;

// Says the same of everything.
class OneResultTrainer final : public Trainer {
 public:
  explicit OneResultTrainer(absl::StatusOr<Evaluation> result) : result_(std::move(result)) {}

  absl::StatusOr<TrainingOutcome> Train(const TrainingRequest&, const TrainingObserver&) override {
    return absl::UnimplementedError("it only evaluates");
  }
  absl::StatusOr<Evaluation> Evaluate(const EvaluationRequest&,
                                      const EvaluationObserver&) override {
    return result_;
  }

 private:
  const absl::StatusOr<Evaluation> result_;
};

class EvaluateTest : public ::testing::Test {
 protected:
  EvaluateTest() {
    options_.model.base = "examples/base_model/icd-moe";
    options_.data = folder_.path() / "records.jsonl";
    EXPECT_THAT(WriteFileAtomically(options_.data,
                                    R"({"instruction": "Which?", "input": "a", "output": "eye"})"),
                IsOk());
  }

  void GiveAdapter() {
    options_.adapter = folder_.path() / "adapter";
    const AdapterLayout layout = *AdapterLayout::Create({{.name = "model.layers.0.self_attn.q_proj",
                                                          .in_features = 128,
                                                          .out_features = 192,
                                                          .lora_rank = 1,
                                                          .alpha = 1}});
    const std::vector<float> values(128 + 192, 1e30f);
    EXPECT_THAT(WritePeftAdapter(*options_.adapter, layout, values, "icd-moe"), IsOk());
  }

  absl::Status Evaluate(const absl::StatusOr<Evaluation>& result) {
    ::testing::internal::CaptureStdout();
    const absl::Status done = EvaluateFile(
        options_,
        {[](std::string_view) { return ComputeDevice::Cpu(); },
         [&](const TorchTrainerOptions&) { return std::make_unique<OneResultTrainer>(result); }},
        clock_);
    std::fflush(stdout);
    printed_ = ::testing::internal::GetCapturedStdout();
    return done;
  }

  const testing::TemporaryDirectory folder_;
  const testing::FakeClock clock_;
  EvaluateOptions options_;
  std::string printed_;
};

TEST_F(EvaluateTest, PrintsTheLoss) {
  ASSERT_THAT(Evaluate(Evaluation{
                  .loss = 0.25, .accuracy = {}, .example_count = 1, .answer_token_count = 2}),
              IsOk());
  EXPECT_EQ(printed_, "loss       0.2500 over 1 records\n");
}

TEST_F(EvaluateTest, NamesTheAdapterThatOverflowsTheModel) {
  GiveAdapter();
  const absl::Status status = Evaluate(Overflowed(/*with_adapter=*/true));
  EXPECT_EQ(ExitCodeFor(status), 1);
  EXPECT_THAT(Message(status),
              StartsWith(options_.adapter->string() +
                         ": the base model computes values that are not finite numbers with this "
                         "adapter; take an earlier one"));
  EXPECT_EQ(printed_, "");
}

TEST_F(EvaluateTest, NamesTheBaseModelThatOverflowsAlone) {
  const absl::Status status = Evaluate(Overflowed(/*with_adapter=*/false));
  EXPECT_EQ(ExitCodeFor(status), 1);
  EXPECT_THAT(Message(status), StartsWith("examples/base_model/icd-moe: the base model computes"));
}

}  // namespace
}  // namespace fedtune
