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

class BaseModelDigestTest : public ::testing::Test {
 protected:
  void Write(std::string_view name, std::string_view content) {
    ASSERT_THAT(WriteFileAtomically(folder_.path() / name, content, Durability::kCached), IsOk());
  }
  void WriteModel() {
    Write("config.json", "{}");
    Write("tokenizer.json", "{\"a\": 1}");
    Write("model-2.safetensors", "two");
    Write("model-1.safetensors", "one");
  }
  std::string DigestOrError() {
    const auto digest = BaseModelDigest(folder_.path());
    return digest.ok() ? *digest : std::string(Message(digest.status()));
  }

  fedtune::testing::TemporaryDirectory folder_;
};

TEST_F(BaseModelDigestTest, IsOverSortedNamesSizesAndDigests) {
  WriteModel();
  const auto line = [](std::string_view name, std::string_view content) {
    return fmt::format("{} {} {}\n", name, content.size(), Sha256Of(content).ToHex());
  };
  EXPECT_EQ(DigestOrError(),
            Sha256Of("fedtune base model 1\n" + line("config.json", "{}") +
                     line("model-1.safetensors", "one") + line("model-2.safetensors", "two") +
                     line("tokenizer.json", "{\"a\": 1}"))
                .ToString());
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
  const auto digest = BaseModelDigest(folder_.path(), [&](double fraction) {
    EXPECT_GE(fraction, last);
    last = fraction;
  });
  EXPECT_THAT(digest, IsOk());
  EXPECT_EQ(last, 1);
}

TEST_F(BaseModelDigestTest, RefusesAFolderThatIsNotThere) {
  EXPECT_THAT(BaseModelDigest(folder_.path() / "none"), HasCode(absl::StatusCode::kNotFound));
}

TEST_F(BaseModelDigestTest, RefusesAFolderWithoutConfig) {
  Write("model.safetensors", "one");
  EXPECT_THAT(BaseModelDigest(folder_.path()), HasCode(absl::StatusCode::kNotFound));
  EXPECT_THAT(DigestOrError(), HasSubstr("there is no config.json in it"));
}

TEST_F(BaseModelDigestTest, RefusesAFolderWithoutWeights) {
  Write("config.json", "{}");
  EXPECT_THAT(DigestOrError(), HasSubstr("has no weights: no *.safetensors file in it"));
}

TEST_F(BaseModelDigestTest, RefusesAFolderInPlaceOfAFile) {
  WriteModel();
  std::filesystem::create_directory(folder_.path() / "x.safetensors");
  EXPECT_FALSE(BaseModelDigest(folder_.path()).ok());
}

}  // namespace
}  // namespace fedtune
