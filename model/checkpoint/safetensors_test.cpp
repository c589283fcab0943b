// SPDX-License-Identifier: Apache-2.0

#include "model/checkpoint/safetensors.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <fstream>

#include "fmt/format.h"
#include "gmock/gmock.h"
#include "model/checkpoint/safetensors_writer.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace fedtune {
namespace {

using ::testing::ElementsAre;
using testing::HasCode;
using ::testing::HasSubstr;
using testing::IsOk;
using testing::TemporaryDirectory;

// A file of this header and so many zero bytes.
std::string FileOf(std::string_view header, size_t data_size) {
  std::string file(8, '\0');
  const uint64_t length = header.size();
  std::memcpy(file.data(), &length, 8);
  return file + std::string(header) + std::string(data_size, '\0');
}

absl::StatusOr<SafetensorsContent> Parse(const std::string& file) {
  return ParseSafetensors(std::as_bytes(std::span(file)), "x.safetensors");
}

std::string ErrorOf(const std::string& file) {
  const auto content = Parse(file);
  EXPECT_THAT(content, HasCode(absl::StatusCode::kInvalidArgument));
  return content.ok() ? "" : std::string(content.status().message());
}

constexpr char kTwoTensors[] =
    R"({"b":{"dtype":"BF16","shape":[2,3],"data_offsets":[4,16]},)"
    R"("a":{"dtype":"F32","shape":[],"data_offsets":[0,4]},"__metadata__":{"format":"pt"}})";

TEST(ParseSafetensorsTest, FindsTensorsInTheOrderOfTheirBytes) {
  const std::string file = FileOf(kTwoTensors, 16);
  const auto content = Parse(file);
  ASSERT_THAT(content, IsOk());
  ASSERT_EQ(content->tensors.size(), 2U);
  EXPECT_EQ(content->tensors[0].name, "a");
  EXPECT_TRUE(content->tensors[0].shape.empty());
  EXPECT_EQ(content->tensors[0].value_count(), 1);
  EXPECT_EQ(content->tensors[1].type, TensorType::kBF16);
  EXPECT_THAT(content->tensors[1].shape, ElementsAre(2, 3));
  EXPECT_EQ(content->tensors[1].bytes.size(), 12U);
  EXPECT_EQ(content->metadata.at("format"), "pt");
}

TEST(ParseSafetensorsTest, KnowsEveryTypeByItsName) {
  for (const char* name :
       {"BOOL",    "F4",          "F6_E2M3",     "F6_E3M2", "U8",  "I8",  "F8_E4M3", "F8_E5M2",
        "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ", "I16",     "U16", "F16", "BF16",    "I32",
        "U32",     "F32",         "I64",         "U64",     "F64", "C64"}) {
    const auto type = ParseTensorType(name);
    ASSERT_TRUE(type.has_value()) << name;
    EXPECT_EQ(ToString(*type), name);
  }
}

TEST(ParseSafetensorsTest, TakesPaddingBehindTheHeaderAndEmptyTensors) {
  EXPECT_THAT(Parse(FileOf("{}   ", 0)), IsOk());
  EXPECT_THAT(Parse(FileOf(R"({"a":{"dtype":"F32","shape":[0,7],"data_offsets":[0,0]}})", 0)),
              IsOk());
}

TEST(ParseSafetensorsTest, RefusesAFileOfAFewBytes) {
  EXPECT_THAT(ErrorOf("abc"), HasSubstr("3 bytes are too few"));
}

TEST(ParseSafetensorsTest, KnowsWhatACloneWithoutGitLfsHasInPlaceOfWeights) {
  EXPECT_THAT(ErrorOf("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"),
              HasSubstr("is a pointer of Git LFS, not the weights: run git lfs pull"));
}

TEST(ParseSafetensorsTest, RefusesAHeaderBeyondTheLimit) {
  EXPECT_THAT(ErrorOf("garbage, not a model"), HasSubstr("not a safetensors file"));
}

TEST(ParseSafetensorsTest, SaysWhenTheHeaderIsCutShort) {
  EXPECT_THAT(ErrorOf(FileOf(kTwoTensors, 0).substr(0, 60)),
              HasSubstr("but the file has 60: the copy is incomplete"));
}

TEST(ParseSafetensorsTest, SaysWhichTensorEndsBeyondTheFile) {
  EXPECT_EQ(
      ErrorOf(FileOf(kTwoTensors, 12)),
      "x.safetensors: tensor b ends at byte 165 but the file has 161: the copy is incomplete");
}

TEST(ParseSafetensorsTest, RefusesBytesBehindTheLastTensor) {
  EXPECT_THAT(ErrorOf(FileOf(kTwoTensors, 17)), HasSubstr("the last tensor ends at byte"));
}

TEST(ParseSafetensorsTest, RefusesAHeaderThatIsNoObject) {
  EXPECT_THAT(ErrorOf(FileOf(" {}", 0)), HasSubstr("does not start with"));
  EXPECT_THAT(ErrorOf(FileOf("", 0)), HasSubstr("does not start with"));
  EXPECT_THAT(ErrorOf(FileOf("{\"a\":", 0)), HasSubstr("not JSON"));
}

TEST(ParseSafetensorsTest, RefusesDuplicateNames) {
  EXPECT_THAT(ErrorOf(FileOf(R"({"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},)"
                             R"("a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}})",
                             0)),
              HasSubstr("duplicate key"));
}

TEST(ParseSafetensorsTest, RefusesOverlaps) {
  EXPECT_THAT(ErrorOf(FileOf(R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},)"
                             R"("b":{"dtype":"U8","shape":[4],"data_offsets":[2,6]}})",
                             6)),
              HasSubstr("tensors overlap"));
}

TEST(ParseSafetensorsTest, RefusesHoles) {
  EXPECT_THAT(ErrorOf(FileOf(R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}})", 3)),
              HasSubstr("there is a hole"));
}

TEST(ParseSafetensorsTest, RefusesAnUnknownType) {
  EXPECT_THAT(ErrorOf(FileOf(R"({"a":{"dtype":"F3","shape":[8],"data_offsets":[0,3]}})", 3)),
              HasSubstr("tensor a has the unknown dtype \"F3\""));
}

TEST(ParseSafetensorsTest, TakesTensorsOfTypesThatNobodyComputesWith) {
  const auto content = Parse(FileOf(R"({"a":{"dtype":"F4","shape":[2,3],"data_offsets":[0,3]},)"
                                    R"("b":{"dtype":"F8_E8M0","shape":[2],"data_offsets":[3,5]},)"
                                    R"("c":{"dtype":"F6_E2M3","shape":[4],"data_offsets":[5,8]},)"
                                    R"("d":{"dtype":"C64","shape":[1],"data_offsets":[8,16]}})",
                                    16));
  ASSERT_THAT(content, IsOk());
  const int64_t counts[] = {6, 2, 4, 1};
  for (size_t i = 0; i < 4; ++i) {
    const TensorView& tensor = content->tensors[i];
    EXPECT_EQ(tensor.value_count(), counts[i]);
    EXPECT_EQ(ByteCount({tensor.name, tensor.type, tensor.shape}), std::ssize(tensor.bytes));
  }
}

TEST(ParseSafetensorsTest, RefusesATensorThatEndsWithinAByte) {
  EXPECT_THAT(ErrorOf(FileOf(R"({"a":{"dtype":"F4","shape":[3],"data_offsets":[0,2]}})", 2)),
              HasSubstr("has 2 bytes, which is not [3] values of F4"));
}

TEST(ParseSafetensorsTest, RefusesSizesThatContradictTheShape) {
  EXPECT_THAT(ErrorOf(FileOf(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}})", 4)),
              HasSubstr("has 4 bytes, which is not [2] values of F32"));
}

TEST(ParseSafetensorsTest, RefusesShapesWhoseSizeOverflows) {
  EXPECT_THAT(ErrorOf(FileOf(R"({"a":{"dtype":"F32","shape":[4611686018427387904,4],)"
                             R"("data_offsets":[0,0]}})",
                             0)),
              HasSubstr("tensor a"));
}

TEST(ParseSafetensorsTest, RefusesShapesThatAreNoSizes) {
  for (const char* shape : {"[-1]", "[1.5]", "[\"1\"]", "7", "[18446744073709551615]"}) {
    EXPECT_THAT(ErrorOf(FileOf(fmt::format(R"({{"a":{{"dtype":"U8","shape":{},)"
                                           R"("data_offsets":[0,1]}}}})",
                                           shape),
                               1)),
                HasSubstr("shape"));
  }
}

TEST(ParseSafetensorsTest, RefusesOffsetsThatAreNoRange) {
  for (const char* offsets : {"[1,0]", "[0]", "[-1,0]", "null", "[0,1,2]"}) {
    EXPECT_THAT(ErrorOf(FileOf(fmt::format(R"({{"a":{{"dtype":"U8","shape":[1],)"
                                           R"("data_offsets":{}}}}})",
                                           offsets),
                               1)),
                HasSubstr("data_offsets"));
  }
}

TEST(ParseSafetensorsTest, RefusesMetadataThatIsNotText) {
  EXPECT_THAT(ErrorOf(FileOf(R"({"__metadata__":{"a":1}})", 0)), HasSubstr("is not a text"));
  EXPECT_THAT(ErrorOf(FileOf(R"({"__metadata__":[]})", 0)), HasSubstr("is not an object"));
}

TEST(SafetensorsFileTest, ReadsBackWhatWasWritten) {
  const TemporaryDirectory folder;
  const auto path = folder.path() / "model.safetensors";
  const std::array<float, 6> values = {1, -2, 3.5, 0, 1e-30F, 7};
  const std::array<uint8_t, 1> flag = {1};
  ASSERT_THAT(
      WriteSafetensors(path,
                       std::vector<TensorView>{
                           {"flag", TensorType::kBool, {}, std::as_bytes(std::span(flag))},
                           {"w", TensorType::kF32, {2, 3}, std::as_bytes(std::span(values))}},
                       {{"format", "pt"}}),
      IsOk());
  const auto file = SafetensorsFile::Open(path);
  ASSERT_THAT(file, IsOk());
  EXPECT_EQ(file->metadata().at("format"), "pt");
  const TensorView* w = file->Find("w");
  ASSERT_NE(w, nullptr);
  EXPECT_THAT(w->shape, ElementsAre(2, 3));
  EXPECT_TRUE(std::ranges::equal(w->bytes, std::as_bytes(std::span(values))));
  EXPECT_EQ(file->Find("absent"), nullptr);
}

TEST(SafetensorsFileTest, SaysThatAFileIsNotThere) {
  EXPECT_THAT(SafetensorsFile::Open("/nowhere/model.safetensors"),
              HasCode(absl::StatusCode::kNotFound));
}

TEST(SafetensorsWriterTest, AlignsTheFirstTensor) {
  const TemporaryDirectory folder;
  for (const char* name : {"a", "ab", "abc", "abcdefgh"}) {
    const auto path = folder.path() / name;
    const std::array<float, 1> one = {1};
    ASSERT_THAT(WriteSafetensors(path,
                                 std::vector<TensorView>{
                                     {name, TensorType::kF32, {1}, std::as_bytes(std::span(one))}},
                                 {}),
                IsOk());
    const auto file = SafetensorsFile::Open(path);
    ASSERT_THAT(file, IsOk());
    EXPECT_EQ(reinterpret_cast<uintptr_t>(file->tensors()[0].bytes.data()) % 64, 0U);
  }
}

TEST(SafetensorsWriterTest, LeavesNothingBehindWhenItIsNotFinished) {
  const TemporaryDirectory folder;
  {
    auto writer = SafetensorsWriter::Create(
        folder.path() / "x", std::vector<TensorInfo>{{"a", TensorType::kU8, {4}}}, {});
    ASSERT_THAT(writer, IsOk());
    const std::array<std::byte, 2> half = {};
    ASSERT_THAT(writer->Append(half), IsOk());
  }
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

TEST(SafetensorsWriterTest, RefusesTwoTensorsOfOneName) {
  const TemporaryDirectory folder;
  EXPECT_THAT(
      SafetensorsWriter::Create(
          folder.path() / "x",
          std::vector<TensorInfo>{{"a", TensorType::kU8, {}}, {"a", TensorType::kU8, {}}}, {}),
      HasCode(absl::StatusCode::kInvalidArgument));
}

TEST(SafetensorsWriterTest, SaysThatTheFolderIsNotThere) {
  EXPECT_THAT(SafetensorsWriter::Create("/nowhere/x", {}, {}),
              HasCode(absl::StatusCode::kNotFound));
}

TEST(SafetensorsWriterDeathTest, RefusesToFinishEarly) {
  const TemporaryDirectory folder;
  auto writer = SafetensorsWriter::Create(folder.path() / "x",
                                          std::vector<TensorInfo>{{"a", TensorType::kU8, {4}}}, {});
  ASSERT_THAT(writer, IsOk());
  EXPECT_DEATH({ const absl::Status status = std::move(*writer).Finish(); }, "fewer bytes");
}

}  // namespace
}  // namespace fedtune
