// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "client/round/secure_membership.h"
#include "privacy/crypto/signing_key.h"
#include "privacy/identity/signing_roster.h"

namespace fedtune::simulation {

// The signing keys of institutions that there are not, and the roster of these, which
// an authority has signed that is gone: all drawn from RandomBytes(), but for the
// authority's own key.
class Signers {
 public:
  // Numbers them from 1, in this order.
  Signers(const std::string& federation, const std::vector<std::string>& institutions,
          CipherSuite suite);

  std::shared_ptr<const SigningRoster> roster() const { return roster_; }
  std::shared_ptr<const SigningKey> KeyOf(const std::string& institution) const {
    return keys_.at(institution);
  }
  SecureMembership MembershipOf(const std::string& institution) const;

 private:
  std::map<std::string, std::shared_ptr<const SigningKey>> keys_;
  std::shared_ptr<const SigningRoster> roster_;
};

}  // namespace fedtune::simulation
