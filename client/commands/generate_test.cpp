// SPDX-License-Identifier: Apache-2.0

#include "client/commands/generate.h"

#include <utility>
#include <vector>

#include "base/exit_code.h"
#include "base/files.h"
#include "base/status.h"
#include "client/training/overflow.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "model/tokenizer/tokenizer.h"
#include "tests/support/fake_clock.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace fedtune {
namespace {

using testing::HasCode;
using ::testing::HasSubstr;
using testing::IsOk;
using ::testing::StartsWith;

// Answers everything with the same tokens, and keeps what it was asked.
class Parrot final : public Generator {
 public:
  struct Asked {
    std::vector<std::vector<int32_t>> prompts;
    std::vector<int32_t> end_tokens;
    int64_t max_tokens = 0;
  };
  Parrot(Asked& asked, std::vector<int32_t> answer) : asked_(asked), answer_(std::move(answer)) {}

  absl::StatusOr<GeneratedText> Generate(const GenerationRequest& request,
                                         const TokenObserver& observer) override {
    asked_.prompts.emplace_back(request.prompt.begin(), request.prompt.end());
    asked_.end_tokens.assign(request.end_tokens.begin(), request.end_tokens.end());
    asked_.max_tokens = request.max_tokens;
    for (const int32_t token : answer_) {
      if (!observer(token)) return absl::CancelledError("");
    }
    return GeneratedText{answer_, true};
  }

 private:
  Asked& asked_;
  const std::vector<int32_t> answer_;
};

class Overflowing final : public Generator {
 public:
  absl::StatusOr<GeneratedText> Generate(const GenerationRequest&, const TokenObserver&) override {
    return Overflowed(/*with_adapter=*/false);
  }
};

class GenerateTest : public ::testing::Test {
 protected:
  GenerateTest() { options_.model.base = "examples/base_model/icd-moe"; }

  std::vector<int32_t> Tokens(const std::string& text) {
    return *Tokenizer::Load("examples/base_model/icd-moe/tokenizer.json")->Encode(text);
  }

  // A text of as many tokens.
  static std::string Words(int count) {
    std::string words;
    for (int i = 0; i < count; ++i) words += " a";
    return words;
  }

  // What the command prints when the model says `answer` to everything.
  std::string Output(const std::string& answer) {
    ::testing::internal::CaptureStdout();
    const absl::Status done = GenerateText(options_, Saying(Tokens(answer)), clock_);
    std::fflush(stdout);
    std::string printed = ::testing::internal::GetCapturedStdout();
    EXPECT_THAT(done, IsOk());
    return printed;
  }

  GeneratorFactory Saying(const std::vector<int32_t>& answer) {
    return {.choose_device = [](std::string_view) { return ComputeDevice::Cpu(); },
            .open = [this, answer](
                        const TorchTrainerOptions&, const AdapterLayout&,
                        std::span<const float>) -> absl::StatusOr<std::unique_ptr<Generator>> {
              return std::make_unique<Parrot>(asked_, answer);
            }};
  }

  GenerateOptions options_;
  Parrot::Asked asked_;
  testing::FakeClock clock_;
  testing::TemporaryDirectory folder_;
};

TEST_F(GenerateTest, GoesOnWithAPromptBehindTheBeginMark) {
  options_.prompt = "Sudden loss of sight:";
  EXPECT_EQ(Output(" eye"), " eye\n");
  ASSERT_EQ(asked_.prompts.size(), 1);
  std::vector<int32_t> expected = Tokens("Sudden loss of sight:");
  expected.insert(expected.begin(), 0);
  EXPECT_EQ(asked_.prompts[0], expected);
  EXPECT_THAT(asked_.end_tokens, ::testing::Contains(1));
}

TEST_F(GenerateTest, EndsWithTheTokensOfGenerationConfigToo) {
  const std::filesystem::path base = folder_.path() / "base";
  std::filesystem::copy("examples/base_model/icd-moe", base);
  ASSERT_THAT(WriteFileAtomically(base / "generation_config.json", R"({"eos_token_id": [1, 77]})"),
              IsOk());
  options_.model.base = base;
  options_.prompt = "a";
  Output("b");
  EXPECT_THAT(asked_.end_tokens, ::testing::IsSupersetOf({1, 77}));
}

TEST_F(GenerateTest, WritesNoFurtherThanTheContextGoes) {
  options_.prompt = Words(508);
  Output("b");
  EXPECT_EQ(asked_.prompts[0].size(), 509U);
  EXPECT_EQ(asked_.max_tokens, 512 - 509);
}

TEST_F(GenerateTest, NamesTheBaseModelWhoseValuesOverflow) {
  options_.prompt = "a";
  const GeneratorFactory overflowing = {
      .choose_device = [](std::string_view) { return ComputeDevice::Cpu(); },
      .open = [](const TorchTrainerOptions&, const AdapterLayout&,
                 std::span<const float>) -> absl::StatusOr<std::unique_ptr<Generator>> {
        return std::make_unique<Overflowing>();
      }};
  const absl::Status status = GenerateText(options_, overflowing, clock_);
  EXPECT_EQ(ExitCodeFor(status), 1);
  EXPECT_THAT(Message(status), StartsWith("examples/base_model/icd-moe: the base model computes "
                                          "values that are not finite numbers, though"));
}

TEST_F(GenerateTest, RefusesAPromptThatFillsTheContext) {
  options_.prompt = Words(511);
  const absl::Status status = GenerateText(options_, Saying({}), clock_);
  ASSERT_THAT(status, HasCode(absl::StatusCode::kInvalidArgument));
  EXPECT_EQ(status.message(),
            "a prompt of 512 tokens fills the model's context of 512: shorten it");
}

TEST_F(GenerateTest, CountsAnswersThatAreExactlyThoseOfRecordsAndOfLastTurns) {
  options_.data = folder_.path() / "records.jsonl";
  ASSERT_THAT(
      WriteFileAtomically(
          *options_.data,
          R"({"instruction": "Which?", "input": "a", "output": "eye"})"
          "\n"
          R"({"instruction": "Which?", "input": "b", "output": "ear"})"
          "\n"
          R"({"messages": [{"role": "user", "content": "Which?"}, {"role": "assistant", "content": "nose"}, {"role": "user", "content": "And?"}, {"role": "assistant", "content": "eye"}]})"
          "\n"),
      IsOk());
  // Behind an instruction an answer begins with a space, behind a template's mark with none.
  EXPECT_EQ(Output(" eye"),
            "=   eye\nx   eye\nx   eye\n1 of 3 answers are exactly those of the records\n");
  EXPECT_EQ(Output("eye"),
            "x  eye\nx  eye\n=  eye\n1 of 3 answers are exactly those of the records\n");
  ASSERT_EQ(asked_.prompts.size(), 6);
  const std::string last = Tokenizer::Load("examples/base_model/icd-moe/tokenizer.json")
                               ->Decode(asked_.prompts[2], true);
  EXPECT_THAT(last, ::testing::EndsWith("nose<｜User｜>And?<｜Assistant｜>"));
}

TEST_F(GenerateTest, JsonHasTheTextAsItIs) {
  options_.prompt = "a";
  options_.json = true;
  EXPECT_THAT(Output("line\n\tone"), HasSubstr(R"("text":"line\n\tone")"));
}

TEST_F(GenerateTest, WantsEitherAPromptOrRecords) {
  const auto refused = HasCode(absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(GenerateText(options_, Saying({}), clock_), refused);
  options_.prompt = "a";
  options_.data = "records.jsonl";
  EXPECT_THAT(GenerateText(options_, Saying({}), clock_), refused);
}

}  // namespace
}  // namespace fedtune
