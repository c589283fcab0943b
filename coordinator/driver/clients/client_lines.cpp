// SPDX-License-Identifier: Apache-2.0

#include "coordinator/driver/clients/client_lines.h"

#include <utility>

namespace fedtune {

bool ClientLines::Connect(const Institution& institution, std::shared_ptr<ClientLine> line) {
  {
    const std::lock_guard lock(mutex_);
    std::swap(lines_[institution], line);
  }
  if (line == nullptr) return false;
  line->Abandon(absl::AbortedError(
      "a newer session of this institution has taken over; if that happens again and again, two "
      "clients run with its key: stop one of them"));
  return true;
}

bool ClientLines::Disconnect(const Institution& institution, const ClientLine* line) {
  const std::lock_guard lock(mutex_);
  const auto found = lines_.find(institution);
  if (found == lines_.end() || found->second.get() != line) return false;
  lines_.erase(found);
  return true;
}

bool ClientLines::IsConnected(const Institution& institution) const {
  const std::lock_guard lock(mutex_);
  return lines_.contains(institution);
}

std::vector<Institution> ClientLines::Connected() const {
  const std::lock_guard lock(mutex_);
  std::vector<Institution> connected;
  for (const auto& [institution, line] : lines_) connected.push_back(institution);
  return connected;
}

void ClientLines::Send(const Institution& institution, const ClientCommand& command) const {
  std::shared_ptr<ClientLine> line;
  {
    const std::lock_guard lock(mutex_);
    const auto found = lines_.find(institution);
    if (found == lines_.end()) return;
    line = found->second;
  }
  line->Send(command);
}

void ClientLines::CloseAll(const absl::Status& reason) {
  std::map<Institution, std::shared_ptr<ClientLine>> lines;
  {
    const std::lock_guard lock(mutex_);
    lines.swap(lines_);
  }
  for (const auto& [institution, line] : lines) line->Close(reason);
}

}  // namespace fedtune
