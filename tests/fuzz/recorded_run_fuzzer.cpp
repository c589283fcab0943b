// SPDX-License-Identifier: Apache-2.0

// A run's record, and a client's log that is compared with it: the same text for both.

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "cli/client_log.h"
#include "cli/recorded_run.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using fedtune::Check;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  for (const fedtune::LoggedRound& round : fedtune::RoundsInLog(text, "run-7f3a")) {
    Check(round.number >= 1 && !round.adapter.empty(), "rounds are numbered and have adapters");
  }
  const auto run = fedtune::ParseRecordedRun(text, "run.json");
  if (!run.ok()) return 0;
  const auto compared = fedtune::CompareWithLog(*run, fedtune::RoundsInLog(text, run->run_id));
  Check(compared.compared <= static_cast<int64_t>(run->rounds.size()), "rounds that both name");
  if (!fedtune::Contradictions(*run).empty()) return 0;
  Check(run->rounds_done == static_cast<int64_t>(run->rounds.size()), "all rounds are there");
  const int64_t maker = fedtune::MakerOf(*run, run->rounds_done);
  Check(maker >= 0 && maker <= run->rounds_done, "one of its rounds has made the adapter");
  return 0;
}
