// SPDX-License-Identifier: Apache-2.0

// A contribution as the coordinator takes it in: its header, then its chunks.

#include <cstddef>
#include <cstdint>

#include "base/check.h"
#include "coordinator/driver/contribution_buffer.h"
#include "coordinator/rounds/contribution_check.h"
#include "coordinator/rpc/training_conversion.h"
#include "google/protobuf/io/coded_stream.h"
#include "google/protobuf/util/delimited_message_util.h"

namespace {

constexpr int64_t kMaxValues = 1024;

// A round that fits the header, as far as one can.
fedtune::ExpectedContribution Fitting(const fedtune::ContributionHeader& header) {
  return {.adapter = header.adapter,
          .layout = header.layout,
          .factors = static_cast<fedtune::FactorSet>(header.factors & 3),
          .value_count = static_cast<int64_t>(header.size_bytes / sizeof(float)),
          .evaluate_only = header.size_bytes == 0};
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using fedtune::Check;
  google::protobuf::io::CodedInputStream input(data, static_cast<int>(size));
  fedtune::v1::SubmitContributionRequest request;
  const auto next = [&] {
    request.Clear();
    return google::protobuf::util::ParseDelimitedFromCodedStream(&request, &input, nullptr);
  };
  if (!next()) return 0;
  const auto submitted = fedtune::FromMessage(request.header());
  if (!submitted.ok()) return 0;
  const fedtune::ContributionHeader& header = submitted->header;
  if (header.size_bytes > kMaxValues * sizeof(float)) return 0;
  if (!fedtune::CheckHeader(header, Fitting(header)).ok()) return 0;
  Check(header.size_bytes % sizeof(float) == 0, "whole values");
  fedtune::ContributionBuffer buffer(header);
  while (next()) {
    if (!buffer.Append(request.chunk().offset(), request.chunk().data()).ok()) return 0;
  }
  const auto values = buffer.Finish();
  if (!values.ok()) return 0;
  Check(values->size_bytes() == header.size_bytes, "as long as its header says");
  return 0;
}
