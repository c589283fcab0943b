// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "aggregation/adapter_bytes.h"
#include "aggregation/adapter_layout.h"
#include "base/status_macros.h"
#include "client/round/workshop.h"

namespace fedtune::bench {

// Where nothing is trained: the contribution is the adapter that came.
class EchoWorkshop final : public Workshop {
 public:
  // Calls `on_assigned` when a round's work begins.
  explicit EchoWorkshop(std::function<void(int64_t round)> on_assigned)
      : on_assigned_(std::move(on_assigned)) {}

  InvitationAnswer Study(const Invitation& invitation) override {
    const auto layout = AdapterLayout::FromJson(invitation.layout_json);
    if (!layout.ok()) return {.run = invitation.run, .reason = layout.status().ToString()};
    const std::lock_guard lock(mutex_);
    layout_digest_ = Sha256Of(invitation.layout_json);
    value_count_ = layout->parameter_count();
    return {.run = invitation.run, .accepted = true, .example_count = 1};
  }

  absl::Status Work(const Assignment& assignment, CoordinatorLink& link, WorkControl& control,
                    const WorkObserver&) override {
    on_assigned_(assignment.id.round);
    auto contribution = std::make_shared<Contribution>(Contribution{.id = assignment.id,
                                                                    .adapter = assignment.adapter,
                                                                    .layout = layout_digest_,
                                                                    .factors = assignment.factors});
    if (!assignment.evaluate_only) {
      ASSIGN_OR_RETURN(const std::string bytes,
                       link.FetchBlob(assignment.adapter, sizeof(float) * value_count_,
                                      control.stop_token(), [](uint64_t, uint64_t) {}));
      ASSIGN_OR_RETURN(contribution->delta, ValuesFromBytes(bytes, value_count_, "the adapter"));
    }
    const std::lock_guard lock(mutex_);
    kept_ = std::move(contribution);
    return absl::OkStatus();
  }

  Outcome Submit(const AttemptId& id, CoordinatorLink& link, std::stop_token stop) override {
    std::shared_ptr<const Contribution> kept;
    {
      const std::lock_guard lock(mutex_);
      kept = kept_;
    }
    if (kept == nullptr || kept->id != id) return absl::FailedPreconditionError("not kept");
    return link.Submit(*kept, std::move(stop));
  }

  Outcome Answer(const Assignment&, const Bytes&, CoordinatorLink&, std::stop_token) override {
    return absl::UnimplementedError("it contributes plainly only");
  }

  absl::Status EndAggregation(const std::string&) override { return absl::OkStatus(); }

  void Forget(const std::string&) override {
    const std::lock_guard lock(mutex_);
    kept_.reset();
  }

 private:
  const std::function<void(int64_t)> on_assigned_;
  std::mutex mutex_;
  Digest layout_digest_;     // Written before any work begins.
  int64_t value_count_ = 0;  // Likewise.
  std::shared_ptr<const Contribution> kept_;
};

}  // namespace fedtune::bench
