// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace fedtune::bench {

// What this machine can do at best, in bytes a second on one core, but for
// loopback: one connection, with a thread at either end.
double LoopbackRate();
double MemoryReadRate();
double MemoryCopyRate();
// The bytes of ten updates in memory that the coordinator's sum and mean take a second.
double AggregationRate();
double AesGcmRate();  // AES-256-GCM, sealing.
double Sha256Rate();

// Of a file in $TMPDIR that is written and synced.
double SyncedWriteRate();
// How long a few bytes take to such a file's disk; the median.
absl::Duration SyncTime();

// How long `bytes` take to each of `clients` and back again over bare TCP
// sockets, all at the same time.
absl::Duration EchoTime(int clients, size_t bytes);
// The same over TLS 1.3 with the suite of the product's connections, whose handshakes are done.
absl::Duration TlsEchoTime(int clients, size_t bytes);
// How long all cores together take to hash what a round hashes of the same bytes: each client
// checks what it got and names what it sends, and the coordinator checks that.
absl::Duration HashTime(int clients, size_t bytes);

}  // namespace fedtune::bench
