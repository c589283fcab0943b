// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <string>
#include <string_view>
#include <type_traits>
#include <variant>

#include "coordinator/rounds/run_events.h"
#include "fmt/format.h"

namespace fedtune::testing {

inline std::string_view ToText(FactorSet factors) {
  return factors == FactorSet::kA ? "A" : factors == FactorSet::kB ? "B" : "A and B";
}

inline std::string Because(std::string_view reason) {
  return reason.empty() ? "" : fmt::format(": {}", reason);
}

inline std::string ToText(const RoundAssignment& work) {
  if (work.evaluate_only) return "evaluate";
  return fmt::format("train {}{}", ToText(work.factors), work.evaluate ? ", evaluate" : "");
}

// One effect of a run as a line; rounds are counted from 0, "2.1" is the first
// attempt of round 2.
inline std::string ToText(const Effect& effect) {
  return std::visit(
      [](const auto& e) -> std::string {
        using E = std::decay_t<decltype(e)>;
        if constexpr (std::is_same_v<E, Invite>) {
          return fmt::format("invite {}", e.institution.value);
        } else if constexpr (std::is_same_v<E, Assign>) {
          return fmt::format("assign {} {}.{}: {}", e.institution.value, e.assignment.round,
                             e.assignment.attempt, ToText(e.assignment));
        } else if constexpr (std::is_same_v<E, CloseRound>) {
          return fmt::format("close {} {}.{}: {}", e.institution.value, e.round, e.attempt,
                             e.reason);
        } else if constexpr (std::is_same_v<E, OpenAggregation>) {
          return fmt::format("{} {}.{}: {}", e.restored ? "reopen" : "open", e.round, e.attempt,
                             e.evaluate_only ? "evaluation" : ToText(e.factors));
        } else if constexpr (std::is_same_v<E, Release>) {
          return fmt::format("release {}.{}: {} of {} contributions", e.round, e.attempt,
                             ToText(e.factors), e.summary.contributions);
        } else if constexpr (std::is_same_v<E, SendSecureMessage>) {
          return fmt::format("ask {} {}.{}: message {}", e.institution.value, e.round, e.attempt,
                             e.message.empty() ? 0 : e.message[0]);
        } else if constexpr (std::is_same_v<E, ReportFault>) {
          if (!e.back_in_round.has_value()) {
            return fmt::format("fault {} {}: {}", e.institution.value, e.round, e.what);
          }
          return fmt::format("sit out {} until {}: {}", e.institution.value, *e.back_in_round,
                             e.what);
        } else if constexpr (std::is_same_v<E, ReportSuspect>) {
          return fmt::format("suspect {} {}: {}", e.institution.value, e.round, e.why);
        } else if constexpr (std::is_same_v<E, TellRunPaused>) {
          return fmt::format("tell {} {}{}", e.institution.value, e.paused ? "pause" : "resume",
                             Because(e.reason));
        } else if constexpr (std::is_same_v<E, TellRunEnded>) {
          return fmt::format("tell {} {}{}", e.institution.value, ToString(e.state),
                             Because(e.reason));
        } else {
          return fmt::format("end {}{}", ToString(e.state), Because(e.reason));
        }
      },
      effect);
}

}  // namespace fedtune::testing
