// SPDX-License-Identifier: Apache-2.0

#include "coordinator/driver/run_log.h"

#include "base/status.h"
#include "fmt/format.h"

namespace fedtune {

void RunLog::Begins(std::string_view how, std::string_view plan, const RunView& view) const {
  log_.Info(how, {Field("run", run_.value), Field("plan", plan),
                  Field("rounds_done", view.rounds_done), Field("clients", view.clients.size())});
}

void RunLog::Pauses(const std::string& reason) const {
  log_.Info("run pauses", {Field("run", run_.value), Field("reason", reason)});
}

void RunLog::Resumes() const {
  log_.Info("run is resumed", {Field("run", run_.value), Field("reason", "")});
}

void RunLog::Ends(const EndRun& end) const {
  log_.Info("run ended", {Field("run", run_.value), Field("state", ToString(end.state)),
                          Field("reason", end.reason)});
}

void RunLog::Released(const ReleaseRecord& release) const {
  const RoundSummary& summary = release.summary;
  if (!summary.burnt.empty()) {
    log_.Warning(
        "round burnt: it is over, and the adapter is as it was",
        {Field("run", run_.value), Field("round", summary.round + 1), Field("why", summary.burnt)});
  }
  log_.Info("round released", {Field("run", run_.value), Field("round", summary.round + 1),
                               Field("contributions", summary.contributions),
                               Field("loss", fmt::format("{:.4f}", summary.training_loss)),
                               Field("adapter", release.adapter.ToHex().substr(0, 12))});
}

void RunLog::Fault(const ReportFault& fault) const {
  if (fault.back_in_round.has_value()) {
    log_.Warning("a client sits out, as too little came of what it took part in",
                 {Field("run", run_.value), Field("client", fault.institution.value),
                  Field("until_round", *fault.back_in_round + 1), Field("why", fault.what)});
    return;
  }
  log_.Warning("a client is left out of a secure aggregation",
               {Field("run", run_.value), Field("round", fault.round + 1),
                Field("client", fault.institution.value), Field("why", fault.what)});
}

void RunLog::Suspect(const ReportSuspect& suspect) const {
  log_.Warning("a client was in an impossible sum",
               {Field("run", run_.value), Field("round", suspect.round + 1),
                Field("client", suspect.institution.value), Field("why", suspect.why)});
}

void RunLog::Lost(const std::vector<Institution>& from, const absl::Status& why) const {
  for (const Institution& client : from) {
    log_.Warning(
        "a contribution that had been taken is lost",
        {Field("run", run_.value), Field("client", client.value), Field("why", Message(why))});
  }
}

void RunLog::Warn(std::string_view event, const absl::Status& why) const {
  log_.Warning(event, {Field("run", run_.value), Field("why", Message(why))});
}

}  // namespace fedtune
