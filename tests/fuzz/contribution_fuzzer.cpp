// SPDX-License-Identifier: Apache-2.0

// A contribution as the coordinator takes it in: its header, then its chunks.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <utility>
#include <vector>

#include "base/check.h"
#include "coordinator/driver/contributions/contribution_buffer.h"
#include "coordinator/rounds/contribution_check.h"
#include "coordinator/rpc/training_conversion.h"
#include "google/protobuf/io/coded_stream.h"
#include "google/protobuf/util/delimited_message_util.h"
#include "tests/fuzz/quiet_protobuf.h"

namespace {

constexpr int64_t kMaxValues = 1024;
constexpr int64_t kMaxTokens = 1'000'000;

// A round that fits the header, as far as one can.
fedtune::ExpectedContribution Fitting(const fedtune::ContributionHeader& header) {
  const int64_t experts = std::ssize(header.metrics.routed_tokens);
  return {.adapter = header.adapter,
          .layout = header.layout,
          .factors = static_cast<fedtune::FactorSet>(header.factors & 3),
          .value_count = static_cast<int64_t>(header.size_bytes / sizeof(float)),
          .evaluate_only = header.size_bytes == 0,
          .routing = {.layers = experts > 0 ? 1 : 0,
                      .experts = experts,
                      .choices = 1,
                      .most_tokens = kMaxTokens}};
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
  for (const int64_t tokens : header.metrics.routed_tokens) {
    Check(tokens >= 0 && tokens <= kMaxTokens, "no expert has more tokens than there were");
  }
  static const auto spool =
      fedtune::Spool::Open(std::filesystem::temp_directory_path() / "fedtune-contribution-fuzzer");
  Check(spool.ok(), "a folder for temporary files");
  static fedtune::SpoolPack pack(*spool, "run");
  auto bytes = fedtune::SpooledBytes::Create(pack, header.size_bytes);
  Check(bytes.ok(), "there is room for a small contribution");
  auto buffer = fedtune::ContributionBuffer::Create(header, *std::move(bytes));
  Check(buffer.ok(), "nothing was left to be read");
  while (next()) {
    if (!buffer->Append(request.chunk().offset(), request.chunk().data()).ok()) return 0;
  }
  const auto verified = (*std::move(buffer)).Finish();
  if (!verified.ok()) return 0;
  const int64_t count = static_cast<int64_t>(header.size_bytes / sizeof(float));
  Check(verified->range.count() == count, "as many values as its header says");
  std::vector<float> values(static_cast<size_t>(count));
  Check(verified->values->Read(0, values).ok(), "values are read");
  return 0;
}
