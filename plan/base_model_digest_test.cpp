// SPDX-License-Identifier: Apache-2.0

#include "plan/base_model_digest.h"

#include "base/files.h"
#include "base/status.h"
#include "fmt/format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "privacy/crypto/sha256.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace fedtune {
namespace {

using fedtune::testing::HasCode;
using fedtune::testing::IsOk;
using ::testing::HasSubstr;

constexpr std::string_view kIndex =
    R"({"weight_map": {"one": "model-1.safetensors", "two": "model-2.safetensors"}})";

class BaseModelDigestTest : public ::testing::Test {
 protected:
  void Write(std::string_view name, std::string_view content) {
    ASSERT_THAT(WriteFileAtomically(folder_.path() / name, content), IsOk());
  }
  void WriteModel() {
    Write("config.json", "{}");
    Write("tokenizer.json", "{\"a\": 1}");
    Write("model-2.safetensors", Shard("two"));
    Write("model-1.safetensors", Shard("one"));
    Write("model.safetensors.index.json", kIndex);
  }
  // With one byte in one tensor.
  static std::string Shard(std::string_view tensor) {
    const std::string header =
        fmt::format(R"({{"{}": {{"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}}}})", tensor);
    return static_cast<char>(header.size()) + std::string(7, '\0') + header + "x";
  }
  std::string DigestOrError() {
    const auto digests = DigestBaseModel(folder_.path());
    return digests.ok() ? digests->digest : std::string(Message(digests.status()));
  }

  fedtune::testing::TemporaryDirectory folder_;
};

TEST_F(BaseModelDigestTest, IsOverSortedNamesSizesAndDigests) {
  WriteModel();
  Write("chat_template.jinja", "{{ messages }}");
  const auto line = [](std::string_view name, std::string_view content) {
    return fmt::format("{} {} {}\n", name, content.size(), Sha256Of(content).ToHex());
  };
  const std::string shards =
      line("model-1.safetensors", Shard("one")) + line("model-2.safetensors", Shard("two"));
  EXPECT_EQ(
      DigestOrError(),
      Sha256Of("fedtune base model 2\n" + line("chat_template.jinja", "{{ messages }}") +
               line("config.json", "{}") + shards + line("model.safetensors.index.json", kIndex) +
               line("tokenizer.json", "{\"a\": 1}"))
          .ToString());
  EXPECT_EQ(DigestBaseModel(folder_.path())->earlier,
            Sha256Of("fedtune base model 1\n" + line("config.json", "{}") + shards +
                     line("tokenizer.json", "{\"a\": 1}"))
                .ToString());
}

TEST_F(BaseModelDigestTest, ChangesWithWhatDecidesAboutTokensAndTheEarlierOneDoesNot) {
  WriteModel();
  BaseModelDigests before = *DigestBaseModel(folder_.path());
  for (const char* file : {"tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
                           "chat_template.jinja"}) {
    Write(file, "{}");
    const BaseModelDigests after = *DigestBaseModel(folder_.path());
    EXPECT_NE(after.digest, before.digest) << file;
    EXPECT_EQ(after.earlier, before.earlier);
    before = after;
  }
  EXPECT_TRUE(before.Have(before.digest));
  EXPECT_TRUE(before.Have(before.earlier));
  EXPECT_FALSE(before.Have("sha256:77ab"));
}

TEST_F(BaseModelDigestTest, ChangesWithAnyByteOfTheModel) {
  WriteModel();
  const std::string before = DigestOrError();
  Write("tokenizer.json", "{\"a\": 2}");
  EXPECT_NE(DigestOrError(), before);
}

TEST_F(BaseModelDigestTest, DoesNotChangeWithFilesBesideTheModel) {
  WriteModel();
  const std::string before = DigestOrError();
  Write("README.md", "hello");
  EXPECT_EQ(DigestOrError(), before);
}

TEST_F(BaseModelDigestTest, TellsHowFarItIs) {
  WriteModel();
  double last = 0;
  const auto digest = DigestBaseModel(folder_.path(), [&](double fraction) {
    EXPECT_GE(fraction, last);
    last = fraction;
  });
  EXPECT_THAT(digest, IsOk());
  EXPECT_EQ(last, 1);
}

TEST_F(BaseModelDigestTest, RefusesAFolderThatIsNotThere) {
  EXPECT_THAT(DigestBaseModel(folder_.path() / "none"), HasCode(absl::StatusCode::kNotFound));
}

TEST_F(BaseModelDigestTest, RefusesAFolderWithoutConfig) {
  Write("model.safetensors", "one");
  EXPECT_THAT(DigestBaseModel(folder_.path()), HasCode(absl::StatusCode::kNotFound));
  EXPECT_THAT(DigestOrError(), HasSubstr("there is no config.json in it"));
}

TEST_F(BaseModelDigestTest, RefusesAFolderWithoutWeights) {
  Write("config.json", "{}");
  EXPECT_THAT(DigestOrError(), HasSubstr("has no weights: no *.safetensors file in it"));
}

TEST_F(BaseModelDigestTest, RefusesWeightsThatAreCutOff) {
  WriteModel();
  const std::string whole = Shard("two");
  Write("model-2.safetensors", whole.substr(0, whole.size() - 1));
  EXPECT_THAT(DigestOrError(), HasSubstr("/model-2.safetensors: tensor two ends at byte"));
  EXPECT_THAT(DigestOrError(), HasSubstr("the copy is incomplete"));
}

TEST_F(BaseModelDigestTest, RefusesAShardThatIsMissing) {
  WriteModel();
  std::filesystem::remove(folder_.path() / "model-2.safetensors");
  EXPECT_THAT(DigestOrError(), HasSubstr("model-2.safetensors is missing"));
}

TEST_F(BaseModelDigestTest, RefusesPointersOfGitLfs) {
  for (const char* file : {"tokenizer.json", "model-1.safetensors"}) {
    WriteModel();
    Write(file, "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n");
    EXPECT_THAT(DigestOrError(), HasSubstr(fmt::format("/{}: is a pointer of Git LFS", file)));
  }
}

TEST_F(BaseModelDigestTest, RefusesATokenizerThatIsCutOff) {
  WriteModel();
  Write("tokenizer.json", "{\"a\": ");
  EXPECT_THAT(DigestOrError(), HasSubstr("/tokenizer.json: not JSON"));
}

TEST_F(BaseModelDigestTest, RefusesAFolderInPlaceOfAFile) {
  WriteModel();
  std::filesystem::create_directory(folder_.path() / "x.safetensors");
  EXPECT_FALSE(DigestBaseModel(folder_.path()).ok());
}

}  // namespace
}  // namespace fedtune
