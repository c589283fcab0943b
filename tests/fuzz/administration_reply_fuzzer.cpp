// SPDX-License-Identifier: Apache-2.0

// What the coordinator tells administrators, as the command line prints it.
// The first byte chooses the reply.

#include <cstddef>
#include <cstdint>

#include "cli/printable_message.h"
#include "cli/run_json.h"
#include "cli/run_text.h"
#include "cli/watch_text.h"
#include "tests/fuzz/quiet_protobuf.h"

namespace {

const absl::Time kNow = absl::FromUnixSeconds(1'800'000'000);

void PrintRun(const fedtune::v1::GetRunResponse& reply) {
  fedtune::RunDetails(reply, kNow);
  fedtune::RunToJson(reply).dump();
  fedtune::WatchBlock(reply.run(), fedtune::Colour::kNo);
  fedtune::WatchLine(reply.run());
  fedtune::WatchNews({}, reply.run());
  fedtune::EndText(reply.run());
}

void PrintClients(const fedtune::v1::ListClientsResponse& reply) {
  fedtune::ClientTable(reply, kNow);
  for (const auto& client : reply.clients()) {
    fedtune::ClientDetails(client, kNow);
    fedtune::ClientToJson(client).dump();
  }
}

template <typename Reply, typename Print>
void Read(const uint8_t* data, size_t size, Print print) {
  Reply reply;
  if (!reply.ParseFromArray(data, static_cast<int>(size))) return;
  fedtune::MakePrintable(reply);
  print(reply);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace fedtune::v1;
  if (size == 0) return 0;
  const uint8_t kind = data[0] % 4;
  ++data;
  --size;
  if (kind == 0) Read<GetRunResponse>(data, size, PrintRun);
  if (kind == 1) Read<ListClientsResponse>(data, size, PrintClients);
  if (kind == 2) {
    Read<ListRunsResponse>(data, size, [](const auto& runs) { fedtune::RunTable(runs, kNow); });
  }
  if (kind == 3) {
    Read<ListModelsResponse>(data, size, [](const auto& models) { fedtune::ModelTable(models); });
  }
  return 0;
}
