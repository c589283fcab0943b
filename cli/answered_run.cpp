// SPDX-License-Identifier: Apache-2.0

#include "cli/answered_run.h"

#include <algorithm>

#include "base/printable_text.h"
#include "base/units.h"
#include "fmt/format.h"

namespace fedtune {
namespace {

bool IsNameCharacter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
}

}  // namespace

absl::Status CheckIsTheRun(std::string_view asked, std::string_view answered) {
  if (answered.starts_with(asked) && std::ranges::all_of(answered, IsNameCharacter)) {
    return absl::OkStatus();
  }
  return absl::DataLossError(fmt::format("the coordinator was asked for {} and answered with {}",
                                         PrintableText(asked), PrintableText(answered)));
}

absl::Status CheckIsSizeOf(const AdapterLayout& layout, uint64_t answered_bytes) {
  const uint64_t bytes = static_cast<uint64_t>(layout.parameter_count()) * sizeof(float);
  if (answered_bytes == bytes) return absl::OkStatus();
  return absl::DataLossError(
      fmt::format("the coordinator says that the release has {} bytes, and its layout has {}",
                  GroupDigits(answered_bytes), GroupDigits(bytes)));
}

absl::Status CheckFitsIntoMemory(uint64_t answered_bytes, uint64_t usable) {
  if (answered_bytes <= usable / 2) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      fmt::format("the release has {}, as the coordinator says, and takes twice as much memory, of "
                  "which there is {}; pull it on a larger machine",
                  HumanBytes(answered_bytes), HumanBytes(usable)));
}

}  // namespace fedtune
