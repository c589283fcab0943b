// SPDX-License-Identifier: Apache-2.0

// What a client finds on its disk, as a change of what it stored: where it starts,
// and what is put there. Only what was stored is taken.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/check.h"
#include "tests/support/secure_round.h"

namespace {

using fedtune::Bytes;
using fedtune::Check;
using fedtune::ClientSession;
using fedtune::testing::PlayedRound;
using fedtune::testing::SecureRound;

struct Stored {
  SecureRound round{{.clients = 4, .elements = 3}};
  std::vector<Bytes> records;
};

const Stored& StoredOnce() {
  static const Stored& stored = *[] {
    auto* made = new Stored;
    PlayedRound played(made->round);
    played.Play();
    made->records = played.client(2).records();
    return made;
  }();
  return stored;
}

Bytes Overwritten(Bytes bytes, const uint8_t* data, size_t size) {
  const size_t at = (data[1] * size_t{256} + data[2]) % bytes.size();
  bytes.resize(std::max(bytes.size(), at + size - 3));
  std::copy(data + 3, data + size, bytes.begin() + static_cast<std::ptrdiff_t>(at));
  return bytes;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 3) return 0;
  const Stored& stored = StoredOnce();
  const size_t which = data[0] % stored.records.size();
  std::vector<Bytes> records = stored.records;
  records[which] = Overwritten(records[which], data, size);
  const bool ok = ClientSession::Resume(stored.round.ClientOptions(2), records).ok();
  Check(ok == (records == stored.records), "what was stored is resumed, and nothing else");
  return 0;
}
