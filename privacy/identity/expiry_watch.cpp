// SPDX-License-Identifier: Apache-2.0

#include "privacy/identity/expiry_watch.h"

#include <chrono>
#include <optional>
#include <utility>
#include <vector>

#include "privacy/identity/expiry.h"

namespace fedtune {
namespace {

constexpr std::chrono::seconds kLooksEvery(60);
constexpr std::chrono::seconds kLooksForOtherSideEvery(1);
constexpr absl::Duration kWarnsEvery = absl::Hours(24);

}  // namespace

ExpiryWatch::ExpiryWatch(CredentialFiles files, std::shared_ptr<const SeenCertificate> other_side,
                         const Clock& clock, Log& log)
    : files_(std::move(files)), other_side_(std::move(other_side)), clock_(clock), log_(log) {
  Look();
  thread_ = std::jthread([this](const std::stop_token& stop) { Work(stop); });
}

void ExpiryWatch::Work(const std::stop_token& stop) {
  while (true) {
    {
      const bool is_alone = other_side_ != nullptr && !other_side_->Get().has_value();
      std::unique_lock lock(mutex_);
      wake_.wait_for(lock, stop, is_alone ? kLooksForOtherSideEvery : kLooksEvery,
                     [] { return false; });
    }
    if (stop.stop_requested()) return;
    Look();
  }
}

void ExpiryWatch::Look() {
  const absl::Time now = clock_.Now();
  std::vector<Expiry> soon = ExpiringSoon(files_, now);
  if (const auto shown = other_side_ != nullptr ? other_side_->Get() : std::nullopt) {
    for (Expiry& expiry : ExpiringSoon(std::vector{*shown}, now)) soon.push_back(std::move(expiry));
  }
  const std::lock_guard lock(mutex_);
  const absl::Duration time = clock_.Monotonic();
  for (const Expiry& expiry : soon) {
    const auto [warned, is_new] = warned_.try_emplace(expiry.whose, time);
    if (!is_new && time - warned->second < kWarnsEvery) continue;
    warned->second = time;
    log_.Warning(
        expiry.not_after < now ? "a certificate has expired" : "a certificate expires soon",
        {Field("whose", expiry.whose), Field("end", DateOf(expiry, now)),
         Field("remedy", expiry.remedy)});
  }
}

}  // namespace fedtune
