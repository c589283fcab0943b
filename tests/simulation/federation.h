// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "aggregation/adapter_layout.h"
#include "client/round/base_model_shelf.h"
#include "client/round/secure_membership.h"
#include "client/training/trainer.h"
#include "coordinator/rounds/names.h"
#include "privacy/crypto/signing_key.h"
#include "privacy/identity/signing_roster.h"
#include "simulation/signers.h"

namespace fedtune::simulation {

// What all schedules share, as it is slow to make: eight institutions with their
// signing keys, the roster of these, and a base model.
class Federation {
 public:
  static const Federation& Get();

  const std::vector<Institution>& institutions() const { return institutions_; }
  std::shared_ptr<const SigningRoster> roster() const { return signers_.roster(); }
  std::shared_ptr<const SigningKey> KeyOf(const Institution& institution) const {
    return signers_.KeyOf(institution.value);
  }
  SecureMembership MembershipOf(const Institution& institution) const {
    return signers_.MembershipOf(institution.value);
  }
  BaseModelShelf& shelf() const { return *shelf_; }
  const std::string& model_json() const { return model_json_; }
  size_t routed_experts() const { return routed_experts_; }  // Of all its layers.

  // Records that it has to train on in its n-th process: they become more with every
  // other one, so that the next can use what was worked out before or cannot.
  static int64_t ExamplesOf(const Institution& institution, int64_t process) {
    return 3 + 2 * (institution.value.front() - 'a') + process / 2;
  }

 private:
  Federation();

  std::vector<Institution> institutions_;
  Signers signers_;
  std::unique_ptr<BaseModelShelf> shelf_;
  std::string model_json_;
  size_t routed_experts_ = 0;
};

// What an institution makes of an adapter: a pure function of both, so that anyone
// knows what a contribution should be. `nonce` is 0 but for a trainer that does
// not give the same twice.
std::vector<float> SyntheticallyTrained(const Institution& institution, const AdapterLayout& layout,
                                        FactorSet factors, std::span<const float> adapter,
                                        uint64_t nonce = 0);

inline constexpr double kSyntheticLoss = 1.25;
inline constexpr int64_t kSyntheticTokens = 7;

}  // namespace fedtune::simulation
