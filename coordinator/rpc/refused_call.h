// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "absl/status/status.h"
#include "coordinator/rpc/status_conversion.h"

namespace fedtune {

// A streaming call that ends before it begins.
template <typename Reactor>
class RefusedCall final : public Reactor {
 public:
  explicit RefusedCall(const absl::Status& why) { this->Finish(ToGrpcStatus(why)); }

 private:
  void OnDone() override { delete this; }
};

}  // namespace fedtune
