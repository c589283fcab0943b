// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "aggregation/adapter_layout.h"
#include "base/status.h"
#include "base/status_macros.h"
#include "client/round/run_material.h"
#include "client/round/secure_desk.h"
#include "client/round/secure_membership.h"
#include "client/round/workshop.h"
#include "client/storage/session_journal.h"
#include "fmt/format.h"
#include "plan/evaluated_rounds.h"
#include "plan/plan.h"

namespace fedtune::bench {

// What a client joins secure runs by.
struct SecureSeat {
  MembershipSource source;
  SessionJournal journal;
};

// Where nothing is trained: the contribution is the adapter that came. Secure
// rounds are those of a real client from there on.
class EchoWorkshop final : public Workshop {
 public:
  // Calls `on_assigned` when a round's work begins.
  EchoWorkshop(std::function<void(int64_t round)> on_assigned, SecureSeat seat)
      : on_assigned_(std::move(on_assigned)),
        source_(std::move(seat.source)),
        desk_(std::move(seat.journal)) {}

  std::optional<InvitationAnswer> Study(const Invitation& invitation, CoordinatorLink&,
                                        std::stop_token) override {
    absl::StatusOr<RunMaterial> material = MaterialFor(invitation);
    if (!material.ok()) {
      return InvitationAnswer{.run = invitation.run,
                              .reason = std::string(Message(material.status()))};
    }
    const bool secure = material->membership.has_value();
    const std::lock_guard lock(mutex_);
    material_ = std::make_shared<const RunMaterial>(*std::move(material));
    return InvitationAnswer{
        .run = invitation.run, .accepted = true, .example_count = secure ? 0 : 1, .secure = secure};
  }

  absl::Status LookAtLog(CoordinatorLink&, std::stop_token) override { return absl::OkStatus(); }

  absl::Status Work(const Assignment& assignment, CoordinatorLink& link, WorkControl& control,
                    const WorkObserver&) override {
    on_assigned_(assignment.id.round);
    const std::shared_ptr<const RunMaterial> material = Material();
    auto contribution =
        std::make_shared<Contribution>(Contribution{.id = assignment.id,
                                                    .adapter = assignment.adapter,
                                                    .layout = material->layout_digest,
                                                    .factors = assignment.factors,
                                                    .evaluate_only = assignment.evaluate_only});
    if (!assignment.evaluate_only) {
      WantedAdapter wanted{.digest = assignment.adapter,
                           .value_count = material->layout.parameter_count(),
                           .storage = TakeStorage()};
      ASSIGN_OR_RETURN(
          contribution->delta,
          link.FetchAdapter(std::move(wanted), control.stop_token(), [](uint64_t, uint64_t) {}));
    }
    const std::lock_guard lock(mutex_);
    kept_ = std::move(contribution);
    return absl::OkStatus();
  }

  Outcome Submit(const AttemptId& id, CoordinatorLink& link, std::stop_token stop) override {
    std::shared_ptr<Contribution> kept = Kept(id);
    if (kept == nullptr) return absl::FailedPreconditionError("not kept");
    const std::shared_ptr<const RunMaterial> material = Material();
    if (!material->membership) {
      absl::Status taken = link.Submit(kept, std::move(stop));
      if (taken.ok()) LeaveStorage(std::move(kept));
      return taken;
    }
    const Assignment assignment{.id = id,
                                .adapter = kept->adapter,
                                .factors = kept->factors,
                                .evaluate = Evaluates(material->plan, id.round),
                                .evaluate_only = kept->evaluate_only};
    return desk_.Submit({assignment, material}, kept, link, std::move(stop));
  }

  Outcome Answer(const Assignment& assignment, const Bytes& message, CoordinatorLink& link,
                 std::stop_token stop) override {
    return desk_.Answer({assignment, Material()}, Kept(assignment.id), message, link,
                        std::move(stop));
  }

  absl::Status EndAggregation(const std::string& run) override { return desk_.End(run); }
  absl::Status EndAggregationsBut(const std::vector<std::string>& runs) override {
    return desk_.EndAllBut(runs);
  }

  void Forget(const std::string&) override {
    const std::lock_guard lock(mutex_);
    kept_.reset();
  }
  void Discard(const std::string&) override {}
  void KeepOnly(const std::vector<std::string>&) override {}

 private:
  absl::StatusOr<RunMaterial> MaterialFor(const Invitation& invitation) const {
    RunMaterial material;
    ASSIGN_OR_RETURN(material.plan,
                     ParsePlan(invitation.plan_toml, fmt::format("plan of {}", invitation.run)));
    ASSIGN_OR_RETURN(material.layout, AdapterLayout::FromJson(invitation.layout_json));
    material.layout_digest = Sha256Of(invitation.layout_json);
    material.training.resize(1);
    if (material.plan.aggregation.mode == AggregationMode::kPlain) return material;
    ASSIGN_OR_RETURN(material.membership, JoinSecureRun(source_, invitation.signing_roster,
                                                        material.plan.secure.suite, absl::Now()));
    material.plan_toml = invitation.plan_toml;
    material.base_digest = invitation.base_digest;
    material.floor = {.min_cohort = static_cast<int>(material.plan.secure.min_cohort),
                      .assumed_corrupt = static_cast<int>(material.plan.secure.assumed_corrupt)};
    return material;
  }

  std::shared_ptr<const RunMaterial> Material() {
    const std::lock_guard lock(mutex_);
    return material_;
  }

  // The next adapter comes to lie where the last one lay, as in a real client, unless
  // somebody reads there still.
  void LeaveStorage(std::shared_ptr<Contribution> taken) {
    const std::lock_guard lock(mutex_);
    if (kept_ == taken) kept_.reset();
    taken_ = std::move(taken);
  }
  std::vector<float> TakeStorage() {
    const std::lock_guard lock(mutex_);
    const std::shared_ptr<Contribution> taken = std::exchange(taken_, nullptr);
    if (taken == nullptr || taken.use_count() > 1) return {};
    std::atomic_thread_fence(std::memory_order_acquire);  // Whoever read there has let go of it.
    return std::move(taken->delta);
  }

  std::shared_ptr<Contribution> Kept(const AttemptId& id) {
    const std::lock_guard lock(mutex_);
    return kept_ != nullptr && kept_->id == id ? kept_ : nullptr;
  }

  const std::function<void(int64_t)> on_assigned_;
  const MembershipSource source_;
  SecureDesk desk_;  // Used by Submit(), Answer() and EndAggregation() alone.
  std::mutex mutex_;
  std::shared_ptr<const RunMaterial> material_;  // Written before any work begins.
  std::shared_ptr<Contribution> kept_;
  std::shared_ptr<Contribution> taken_;  // By the coordinator.
};

}  // namespace fedtune::bench
