// SPDX-License-Identifier: Apache-2.0

// What a client has stored of a round is read back from its disk. The first byte says
// which of the two it is taken for.

#include <cstddef>
#include <cstdint>

#include "base/check.h"
#include "client/round/round_record.h"
#include "client/training/training_state.h"

namespace {

using fedtune::AdapterLayout;
using fedtune::Bytes;
using fedtune::ByteSpan;

const AdapterLayout& Layout() {
  static const AdapterLayout& layout = *new AdapterLayout(*AdapterLayout::Create(
      {{.name = "q_proj", .in_features = 2, .out_features = 1, .lora_rank = 1, .alpha = 1}}));
  return layout;
}

template <typename Record>
void CheckIsStoredAs(const Record& record, ByteSpan bytes) {
  const fedtune::RoundRecord stored = fedtune::RoundRecord::Of(record);
  Bytes again;
  for (const ByteSpan part : stored.parts()) again.insert(again.end(), part.begin(), part.end());
  fedtune::Check(Bytes(bytes.begin(), bytes.end()) == again, "one record has one form");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const ByteSpan bytes(data + 1, size - 1);
  if (data[0] % 2 == 0) {
    const auto checkpoint = fedtune::ParseCheckpoint(bytes);
    if (!checkpoint.ok()) return 0;
    CheckIsStoredAs(*checkpoint, bytes);
    if (!checkpoint->training) return 0;
    fedtune::CheckState(*checkpoint->training, {.layout = Layout(), .steps = 8}).IgnoreError();
  } else {
    const auto result = fedtune::ParseResult(bytes);
    if (!result.ok()) return 0;
    CheckIsStoredAs(*result, bytes);
    fedtune::CheckFits(*result, Layout()).IgnoreError();
  }
  return 0;
}
