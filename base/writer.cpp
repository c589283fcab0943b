// SPDX-License-Identifier: Apache-2.0

#include "base/writer.h"

#include <unistd.h>

#include <array>

#include "fmt/format.h"

namespace fedtune {
namespace {

std::string HostName() {
  std::array<char, 256> name{};
  if (::gethostname(name.data(), name.size() - 1) != 0) return "an unknown host";
  return name.data();
}

}  // namespace

Writer ThisWriter(absl::Time now) { return {.pid = ::getpid(), .host = HostName(), .since = now}; }

std::string ToText(const Writer& writer) {
  return fmt::format("process {} on {} since {}", writer.pid, writer.host,
                     absl::FormatTime("%Y-%m-%dT%H:%M:%SZ", writer.since, absl::UTCTimeZone()));
}

}  // namespace fedtune
