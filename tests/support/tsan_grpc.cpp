// SPDX-License-Identifier: Apache-2.0
//
// gRPC and abseil are Debian's and not compiled with the thread sanitizer: it
// does not see their locks and takes everything that passes from one thread to
// another through them for a race. In tests under the thread sanitizer these
// definitions stand before the libraries' own and tell it of the locks, all of
// them as one, and of each start of a call's operations. So what gRPC orders
// counts as ordered; races of our own code on what gRPC does not order, and on
// anything guarded by our own locks, are still found. None of our code uses
// absl::Mutex.

#include <dlfcn.h>
#include <sanitizer/tsan_interface.h>

#include "absl/synchronization/mutex.h"
#include "grpc/grpc.h"

namespace {

char grpc_order;

void Entering() { __tsan_acquire(&grpc_order); }
void Leaving() { __tsan_release(&grpc_order); }

// The library's own definition of what this program defines.
template <typename Function>
Function* Original(const char* symbol) {
  return reinterpret_cast<Function*>(dlsym(RTLD_NEXT, symbol));
}

}  // namespace

// What the sanitizer can see of the libraries by itself is not worth seeing.
extern "C" const char* __tsan_default_options() { return "ignore_noninstrumented_modules=1"; }

void absl::Mutex::Lock() {
  static auto* const original = Original<void(Mutex*)>("_ZN4absl7debian35Mutex4LockEv");
  original(this);
  Entering();
}

bool absl::Mutex::TryLock() {
  static auto* const original = Original<bool(Mutex*)>("_ZN4absl7debian35Mutex7TryLockEv");
  const bool locked = original(this);
  if (locked) Entering();
  return locked;
}

void absl::Mutex::Unlock() {
  static auto* const original = Original<void(Mutex*)>("_ZN4absl7debian35Mutex6UnlockEv");
  Leaving();
  original(this);
}

void absl::CondVar::Wait(Mutex* mutex) {
  static auto* const original =
      Original<void(CondVar*, Mutex*)>("_ZN4absl7debian37CondVar4WaitEPNS0_5MutexE");
  Leaving();
  original(this, mutex);
  Entering();
}

bool absl::CondVar::WaitWithTimeout(Mutex* mutex, Duration timeout) {
  static auto* const original = Original<bool(CondVar*, Mutex*, Duration)>(
      "_ZN4absl7debian37CondVar15WaitWithTimeoutEPNS0_5MutexENS0_8DurationE");
  Leaving();
  const bool timed_out = original(this, mutex, timeout);
  Entering();
  return timed_out;
}

bool absl::CondVar::WaitWithDeadline(Mutex* mutex, Time deadline) {
  static auto* const original = Original<bool(CondVar*, Mutex*, Time)>(
      "_ZN4absl7debian37CondVar16WaitWithDeadlineEPNS0_5MutexENS0_4TimeE");
  Leaving();
  const bool timed_out = original(this, mutex, deadline);
  Entering();
  return timed_out;
}

extern "C" grpc_call_error grpc_call_start_batch(grpc_call* call, const grpc_op* operations,
                                                 size_t count, void* tag, void* reserved) {
  static auto* const original = Original<decltype(grpc_call_start_batch)>("grpc_call_start_batch");
  Leaving();
  return original(call, operations, count, tag, reserved);
}

// Where gRPC's threads, and calls that wait, learn that operations are done.
extern "C" grpc_event grpc_completion_queue_next(grpc_completion_queue* queue,
                                                 gpr_timespec deadline, void* reserved) {
  static auto* const original =
      Original<decltype(grpc_completion_queue_next)>("grpc_completion_queue_next");
  const grpc_event event = original(queue, deadline, reserved);
  Entering();
  return event;
}

extern "C" grpc_event grpc_completion_queue_pluck(grpc_completion_queue* queue, void* tag,
                                                  gpr_timespec deadline, void* reserved) {
  static auto* const original =
      Original<decltype(grpc_completion_queue_pluck)>("grpc_completion_queue_pluck");
  const grpc_event event = original(queue, tag, deadline, reserved);
  Entering();
  return event;
}
