// SPDX-License-Identifier: Apache-2.0

#include "privacy/identity/revocation_watch.h"

#include <utility>

#include "base/status.h"

namespace fedtune {

RevocationWatch::RevocationWatch(std::shared_ptr<Revocations> revocations, Log& log,
                                 std::function<void()> looked, absl::Duration every)
    : revocations_(std::move(revocations)), log_(log), looked_(std::move(looked)), every_(every) {
  TellWhatIsInUse();
  Keep();
  thread_ = std::jthread([this](const std::stop_token& stop) { Work(stop); });
}

void RevocationWatch::Work(const std::stop_token& stop) {
  while (true) {
    {
      std::unique_lock lock(mutex_);
      wake_.wait_for(lock, stop, absl::ToChronoMilliseconds(every_), [] { return false; });
    }
    if (stop.stop_requested()) return;
    Look();
  }
}

void RevocationWatch::Look() {
  const absl::Status refreshed = revocations_->Refresh();
  {
    const std::lock_guard lock(mutex_);
    Tell(refreshed);
    Keep();
  }
  looked_();
}

void RevocationWatch::Tell(const absl::Status& refreshed) {
  std::string refusal(Message(refreshed));
  if (refusal == refusal_) return TellWhatIsInUse();
  refusal_ = std::move(refusal);
  if (refreshed.ok()) in_use_.reset();  // Who has read of the fault is to read of its end.
  if (!refreshed.ok()) {
    log_.Warning("the revocation list is not taken, the one before stays in use",
                 {Field("number", revocations_->list()->number()), Field("why", refusal_)});
  }
  TellWhatIsInUse();
}

void RevocationWatch::Keep() {
  const absl::Status kept = revocations_->Keep();
  std::string failure(Message(kept));
  if (failure == failure_) return;
  failure_ = std::move(failure);
  if (kept.ok()) return;
  log_.Warning(
      "the revocation list is in use, and its copy cannot be kept: after a restart an "
      "older one would be taken",
      {Field("number", revocations_->list()->number()), Field("why", failure_)});
}

void RevocationWatch::TellWhatIsInUse() {
  const std::shared_ptr<const RevocationList> list = revocations_->list();
  if (list->number() == in_use_) return;
  in_use_ = list->number();
  log_.Info("revocation list",
            {Field("number", list->number()), Field("revoked", list->size()),
             Field("signed", absl::FormatTime("%Y-%m-%dT%H:%M:%SZ", list->signed_at(),
                                              absl::UTCTimeZone()))});
}

}  // namespace fedtune
