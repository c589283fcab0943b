// SPDX-License-Identifier: Apache-2.0

#include "coordinator/rpc/invitation_message.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/wire_format_lite.h>
#include <grpcpp/support/slice.h>

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "proto/fedtune/v1/training.pb.h"

namespace fedtune {
namespace {

using google::protobuf::internal::WireFormatLite;
using google::protobuf::io::CodedOutputStream;
using Invitation = v1::RunInvitation;

// What stands before a text's bytes.
std::string PrefixOf(int field, uint64_t size) {
  std::array<uint8_t, 16> bytes{};
  uint8_t* end = CodedOutputStream::WriteTagToArray(
      WireFormatLite::MakeTag(field, WireFormatLite::WIRETYPE_LENGTH_DELIMITED), bytes.data());
  end = CodedOutputStream::WriteVarint64ToArray(size, end);
  return {bytes.begin(), bytes.begin() + (end - bytes.data())};
}

void ForgetTexts(void* texts) { delete static_cast<std::shared_ptr<const RunTexts>*>(texts); }

// A view of `text`, which lies in `texts`. gRPC does not write to it.
grpc::Slice SliceIn(std::string_view text, std::shared_ptr<const RunTexts> texts) {
  return {const_cast<char*>(text.data()), text.size(), ForgetTexts,
          new std::shared_ptr<const RunTexts>(std::move(texts))};
}

}  // namespace

grpc::ByteBuffer InvitationMessage(const RunId& run, const RunInvitation& invitation) {
  const std::shared_ptr<const RunTexts>& texts = invitation.texts;
  const std::pair<int, std::string_view> fields[] = {
      {Invitation::kPlanTomlFieldNumber, texts->plan_toml},
      {Invitation::kLayoutJsonFieldNumber, texts->layout_json},
      {Invitation::kBaseDigestFieldNumber, texts->base_digest},
      {Invitation::kSigningRosterFieldNumber, texts->signing_roster}};
  std::string begin = PrefixOf(Invitation::kRunIdFieldNumber, run.value.size()) + run.value;
  uint64_t size = begin.size();
  for (const auto& [field, text] : fields)
    size += PrefixOf(field, text.size()).size() + text.size();
  begin.insert(0, PrefixOf(v1::CoordinatorMessage::kRunInvitationFieldNumber, size));
  std::vector<grpc::Slice> slices = {grpc::Slice(begin)};
  for (const auto& [field, text] : fields) {
    slices.emplace_back(PrefixOf(field, text.size()));
    if (!text.empty()) slices.push_back(SliceIn(text, texts));
  }
  return {slices.data(), slices.size()};
}

}  // namespace fedtune
