// SPDX-License-Identifier: Apache-2.0

// What another party says is sealed for us, as it stands and as a change of what
// we sealed: only what was sealed opens.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/check.h"
#include "privacy/crypto/aead.h"

using fedtune::Check;
using fedtune::OpenOnce;
using fedtune::SealOnce;
using fedtune::SecretBytes;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const SecretBytes key(std::vector<uint8_t>(fedtune::kAeadKeySize, 1));
  const std::span input(data, size);
  const auto opened = OpenOnce(key, {}, input);
  if (opened.ok()) {
    Check(std::ranges::equal(SealOnce(key, {}, opened->Reveal()), input), "what opens was sealed");
  }
  const std::vector<uint8_t> sealed = SealOnce(key, {}, std::vector<uint8_t>(size / 2, 7));
  std::vector<uint8_t> changed = sealed;
  for (size_t i = 0; i < size; ++i) changed[i % changed.size()] ^= data[i];
  Check(OpenOnce(key, {}, changed).ok() == (changed == sealed), "what was changed does not open");
  return 0;
}
