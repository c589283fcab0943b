// SPDX-License-Identifier: Apache-2.0

#include "cli/newest_release.h"

#include <cstdint>
#include <cstdio>
#include <utility>

#include "aggregation/adapter_bytes.h"
#include "base/clock.h"
#include "base/progress.h"
#include "base/status.h"
#include "base/status_macros.h"
#include "base/units.h"
#include "base/usable_memory.h"
#include "cli/answered_run.h"
#include "fmt/format.h"

namespace fedtune {
namespace {

absl::StatusOr<Digest> ReleaseDigest(const v1::RunStatus& run) {
  const auto digest = Digest::FromBinary(run.adapter_sha256(), "the release");
  if (run.rounds_done() > 0 && digest.ok()) return digest;
  return absl::FailedPreconditionError(
      fmt::format("{} has released nothing yet: no round is done", run.run_id()));
}

absl::StatusOr<std::string> FetchBytes(const CoordinatorConnection& connection,
                                       const Release& release) {
  const uint64_t size = release.run.adapter_bytes();
  const SystemClock clock;
  ProgressLine progress(fmt::format("pulling {}", release.run.run_id()), clock);
  return connection.FetchBlob(
      release.digest, size, [&](double fraction) { progress.Update(fraction, HumanBytes(size)); });
}

// Instead of one that is not there. `why`: as the coordinator says so.
absl::StatusOr<Release> FindNewer(const CoordinatorConnection& connection, const Release& gone,
                                  const absl::Status& why) {
  const std::string& run_id = gone.run.run_id();
  ASSIGN_OR_RETURN(Release newest, FindNewestRelease(connection, run_id));
  if (newest.digest == gone.digest) {
    return Annotate(why, fmt::format("the coordinator has lost the newest adapter of {}, after {} "
                                     "rounds (its operator: fedtune-coordinator check)",
                                     run_id, gone.run.rounds_done()));
  }
  fmt::print(stderr,
             "the adapter after {} rounds is not kept any more, as {} goes on; pulling that after "
             "{}\n",
             gone.run.rounds_done(), run_id, newest.run.rounds_done());
  return newest;
}

}  // namespace

absl::StatusOr<Release> FindNewestRelease(const CoordinatorConnection& connection,
                                          const std::string& run_id) {
  ASSIGN_OR_RETURN(const v1::GetRunResponse response, connection.GetRun(run_id));
  Release release;
  release.run = response.run();
  ASSIGN_OR_RETURN(release.digest, ReleaseDigest(release.run));
  ASSIGN_OR_RETURN(release.plan, ParsePlan(response.plan_toml(), "the run's plan"));
  ASSIGN_OR_RETURN(release.layout, AdapterLayout::FromJson(response.layout_json()));
  RETURN_IF_ERROR(CheckIsSizeOf(release.layout, release.run.adapter_bytes()));
  RETURN_IF_ERROR(CheckFitsIntoMemory(release.run.adapter_bytes(), UsableMemory()));
  return release;
}

absl::StatusOr<std::vector<float>> FetchValues(const CoordinatorConnection& connection,
                                               Release& release) {
  absl::StatusOr<std::string> bytes = FetchBytes(connection, release);
  while (absl::IsNotFound(bytes.status())) {
    ASSIGN_OR_RETURN(release, FindNewer(connection, release, bytes.status()));
    bytes = FetchBytes(connection, release);
  }
  RETURN_IF_ERROR(bytes.status());
  absl::StatusOr<std::vector<float>> values =
      ValuesFromBytes(*bytes, release.layout.parameter_count(), "the release");
  if (!values.ok()) return absl::DataLossError(values.status().message());
  return values;
}

}  // namespace fedtune
