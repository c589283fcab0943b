// SPDX-License-Identifier: Apache-2.0

#include "tests/simulation/wording.h"

#include <string_view>

#include "fmt/format.h"
#include "privacy/secure_aggregation/messages.h"

namespace fedtune::simulation {
namespace {

std::string_view NameOf(MessageKind kind) {
  switch (kind) {
    case MessageKind::kAdvertisement:
      return "its keys";
    case MessageKind::kKeyDirectory:
      return "everyone's keys";
    case MessageKind::kShares:
      return "its shares";
    case MessageKind::kSharesForYou:
      return "the others' shares";
    case MessageKind::kInputManifest:
      return "its input's manifest";
    case MessageKind::kSurvivors:
      return "the survivors";
    case MessageKind::kAgreement:
      return "that it agrees";
    case MessageKind::kAgreementProof:
      return "that enough agree";
    case MessageKind::kUnmaskShares:
      return "its shares for unmasking";
  }
  return "something unknown";
}

template <typename Message>
std::string Place(const Message& message) {
  return fmt::format("round {} attempt {}", message.round(), message.attempt());
}

std::string InWords(const v1::SecureAggregationMessage& message) {
  const std::string& text = message.message();
  const auto kind = KindOf(Bytes(text.begin(), text.end()));
  return fmt::format("{} ({})", kind.ok() ? NameOf(*kind) : "nonsense", Place(message));
}

}  // namespace

std::string InWords(const v1::CoordinatorMessage& message) {
  switch (message.message_case()) {
    case v1::CoordinatorMessage::kWelcome:
      return "welcome";
    case v1::CoordinatorMessage::kRunInvitation:
      return "the invitation";
    case v1::CoordinatorMessage::kRoundAssignment:
      return fmt::format("its work for {}", Place(message.round_assignment()));
    case v1::CoordinatorMessage::kRoundClosed:
      return fmt::format("the end of {}: {}", Place(message.round_closed()),
                         message.round_closed().reason());
    case v1::CoordinatorMessage::kRunPaused:
      return message.run_paused().paused() ? "that the run pauses" : "that the run goes on";
    case v1::CoordinatorMessage::kRunEnded:
      return fmt::format("the run's end: {}", message.run_ended().state());
    case v1::CoordinatorMessage::kSecureAggregation:
      return InWords(message.secure_aggregation());
    default:
      return "something unknown";
  }
}

std::string InWords(const v1::ClientMessage& message) {
  switch (message.message_case()) {
    case v1::ClientMessage::kRunDecision:
      return message.run_decision().accepted()
                 ? fmt::format("yes, with {} records", message.run_decision().example_count())
                 : fmt::format("no: {}", message.run_decision().reason());
    case v1::ClientMessage::kProgress:
      return fmt::format("how far it is in {}", Place(message.progress()));
    case v1::ClientMessage::kRoundFailure:
      return fmt::format("that it failed in {}: {}", Place(message.round_failure()),
                         message.round_failure().reason());
    case v1::ClientMessage::kSecureAggregation:
      return InWords(message.secure_aggregation());
    default:
      return "something unknown";
  }
}

}  // namespace fedtune::simulation
