// SPDX-License-Identifier: Apache-2.0

#include "rpc/channel.h"

#include "absl/synchronization/mutex.h"
#include "gtest/gtest.h"

namespace fedtune {
namespace {

TEST(SetUpRpcLibraryTest, LocksThatAreTakenInTwoOrdersEndNoProcess) {
  SetUpRpcLibrary();
  absl::Mutex first;
  absl::Mutex second;
  {
    const absl::MutexLock outer(&first);
    const absl::MutexLock inner(&second);
  }
  const absl::MutexLock outer(&second);
  const absl::MutexLock inner(&first);
}

}  // namespace
}  // namespace fedtune
