// SPDX-License-Identifier: Apache-2.0

// What a client says in its session, as the coordinator reads it.

#include <cstddef>
#include <cstdint>

#include "base/check.h"
#include "coordinator/rpc/training_conversion.h"
#include "tests/fuzz/quiet_protobuf.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using fedtune::Check;
  fedtune::v1::ClientMessage message;
  if (!message.ParseFromArray(data, static_cast<int>(size))) return 0;
  const auto event = fedtune::FromMessage(message);
  Check(!event.ok() || !message.has_hello(), "a hello is no event");
  if (!message.has_hello()) return 0;
  const fedtune::ClientRecord client = fedtune::FromMessage(message.hello());
  Check(client.example_count >= 0 && client.memory_bytes >= 0, "counts");
  Check(client.version.size() <= 200 && client.device_name.size() <= 200, "texts are cut");
  return 0;
}
