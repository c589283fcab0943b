// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <memory>

#include "base/logging.h"
#include "coordinator/driver/clients/client_line.h"
#include "coordinator/driver/clients/client_lines.h"
#include "coordinator/rounds/names.h"
#include "coordinator/rounds/run_events.h"

namespace fedtune {

// Tells a run's clients what the run has decided. What is for somebody who is not
// connected is dropped: who connects is told again. Thread-safe.
class RunMessages {
 public:
  // `lines` and `log` must outlive it.
  RunMessages(RunId run, RunTexts texts, const ClientLines& lines, Log& log);

  void Send(const Invite& effect) const;
  void Send(const Assign& effect) const;
  void Send(const CloseRound& effect) const;
  void Send(const SendSecureMessage& effect) const;
  void Send(const TellRunPaused& effect) const;
  void Send(const TellRunEnded& effect) const;

 private:
  void Send(const Institution& institution, decltype(ClientCommand::what) what) const;

  const RunId run_;
  const std::shared_ptr<const RunTexts> texts_;
  const ClientLines& lines_;
  Log& log_;
};

}  // namespace fedtune
