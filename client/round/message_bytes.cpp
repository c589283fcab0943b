// SPDX-License-Identifier: Apache-2.0

#include "client/round/message_bytes.h"

#include <string>
#include <variant>

#include "base/overloaded.h"

namespace fedtune {
namespace {

constexpr size_t kLeast = 1024;

}  // namespace

size_t BytesOf(const Welcome& welcome) {
  size_t bytes = kLeast + welcome.federation.size() + welcome.institution.size() +
                 welcome.coordinator_version.size();
  if (!welcome.runs_under_way) return bytes;
  for (const std::string& run : *welcome.runs_under_way) bytes += sizeof(run) + run.size();
  return bytes;
}

size_t BytesOf(const Invitation& invitation) {
  return kLeast + invitation.run.size() + invitation.plan_toml.size() +
         invitation.layout_json.size() + invitation.base_digest.size() +
         invitation.signing_roster.size();
}

size_t BytesOf(const Instruction& instruction) {
  return std::visit(
      Overloaded{
          [](const Invitation& invitation) { return BytesOf(invitation); },
          [](const Assignment& assignment) { return kLeast + assignment.id.run.size(); },
          [](const RoundOver& over) { return kLeast + over.id.run.size() + over.reason.size(); },
          [](const RunPause& pause) { return kLeast + pause.run.size() + pause.reason.size(); },
          [](const RunOver& over) {
            return kLeast + over.run.size() + over.state.size() + over.reason.size();
          },
          [](const SecureMessage& message) {
            return kLeast + message.id.run.size() + message.message.size();
          }},
      instruction);
}

}  // namespace fedtune
