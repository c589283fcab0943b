// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "absl/status/status.h"
#include "coordinator/driver/clients/client_line.h"
#include "coordinator/rounds/names.h"

namespace fedtune {

// The lines of the clients that are connected, one each. Thread-safe.
class ClientLines {
 public:
  // A line that the institution had before is closed. True: it had one.
  bool Connect(const Institution& institution, std::shared_ptr<ClientLine> line);

  // Forgets the line. False: another one has taken its place, or it was never
  // here; nothing has changed.
  bool Disconnect(const Institution& institution, const ClientLine* line);

  bool IsConnected(const Institution& institution) const;

  // By name.
  std::vector<Institution> Connected() const;

  // Drops the command when the institution is not connected.
  void Send(const Institution& institution, const ClientCommand& command) const;

  void CloseAll(const absl::Status& reason);

 private:
  mutable std::mutex mutex_;
  std::map<Institution, std::shared_ptr<ClientLine>> lines_;
};

}  // namespace fedtune
