// SPDX-License-Identifier: Apache-2.0

// The programs' configuration files: the same text for each of them.

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "cli/configuration.h"
#include "client/config.h"
#include "coordinator/coordinator_config.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using fedtune::Check;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto coordinator = fedtune::ParseCoordinatorConfig(text, "/etc/coordinator.toml", {});
  if (coordinator.ok()) {
    Check(coordinator->keep_adapters >= 2, "adapters are kept");
    Check(coordinator->state_dir.is_absolute(), "relative to the file");
  }
  const auto client = fedtune::ParseClientConfig(text, "/etc/client.toml", {});
  if (client.ok()) {
    Check(!client->coordinator.empty() && client->threads >= 0, "coordinator and threads");
    for (const auto& dataset : client->datasets) {
      Check(!dataset.name.empty() && dataset.train.is_absolute(), "data sets");
    }
  }
  const auto cli = fedtune::ParseConfiguration(text, "/etc/fedtune.toml", {});
  if (cli.ok()) Check(cli->key.is_absolute(), "relative to the file");
  return 0;
}
