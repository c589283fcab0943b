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
bool ClientState::MakeRoomFor(const std::string& run, size_t bytes) {
  while (!HasRoomFor(run, bytes)) {
    const auto declined = std::find_if(runs_.begin(), runs_.end(), [&run](const auto& known) {
      const auto& [name, state] = known;
      return name != run && state.answer && !state.answer->accepted;
    });
    if (declined == runs_.end()) return false;
    End(std::string(declined->first));
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
