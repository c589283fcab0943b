// SPDX-License-Identifier: Apache-2.0

// How much a client's state may come to, whatever a coordinator says.

#include <algorithm>

#include "base/units.h"
#include "client/round/client_state.h"
#include "client/round/message_bytes.h"
#include "fmt/format.h"

namespace fedtune {

bool ClientState::HasRoomFor(const std::string& run, size_t bytes) const {
  if (!runs_.contains(run) && runs_.size() >= kMostRuns) return false;
  for (const auto& [name, known] : runs_) {
    if (name == run) continue;
    bytes += known.unheard.size() + (known.invitation ? BytesOf(*known.invitation) : 0);
  }
  return bytes <= kMostInvitationBytes;
}

// Of the end of a run that it has declined nobody may ever tell it: such runs make room.
bool ClientState::IsDeclined(const RunState& run) { return run.answer && !run.answer->accepted; }

// Nor of that of one of which a coordinator has not spoken since it came back.
bool ClientState::MayHaveEnded(const RunState& run) {
  return !run.is_told_of && run.stage != Stage::kTraining && run.stage != Stage::kSubmitting;
}

bool ClientState::MakeRoomFor(const std::string& run, size_t bytes) {
  while (!HasRoomFor(run, bytes)) {
    const auto find = [&](bool (*makes_room)(const RunState&)) {
      return std::ranges::find_if(
          runs_, [&](const auto& known) { return known.first != run && makes_room(known.second); });
    };
    auto least = find(IsDeclined);
    if (least == runs_.end()) least = find(MayHaveEnded);
    if (least == runs_.end()) return false;
    End(std::string(least->first));
  }
  return true;
}

std::string ClientState::WithoutRoom() {
  return fmt::format(
      "this client has room for {} runs at a time, and for {} of what describes them; invite it "
      "again when one of its runs has ended",
      kMostRuns, HumanBytes(kMostInvitationBytes));
}

}  // namespace fedtune
