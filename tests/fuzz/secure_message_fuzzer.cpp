// SPDX-License-Identifier: Apache-2.0

// Every message of a secure aggregation: what is taken has these bytes and no
// others.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/check.h"
#include "privacy/secure_aggregation/messages.h"

namespace {

using fedtune::ByteSpan;
using fedtune::Check;
using fedtune::MessageKind;

template <typename Decoded>
void CheckOneEncoding(const Decoded& decoded, ByteSpan message) {
  if (!decoded.ok()) return;
  Check(std::ranges::equal(fedtune::Encode(*decoded), message), "a message has one encoding");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const ByteSpan message(data, size);
  CheckOneEncoding(fedtune::DecodeAdvertisement(message), message);
  CheckOneEncoding(fedtune::DecodeKeyDirectory(message), message);
  CheckOneEncoding(fedtune::DecodeShares(message), message);
  CheckOneEncoding(fedtune::DecodeSharesForYou(message), message);
  CheckOneEncoding(fedtune::DecodeInputManifest(message), message);
  CheckOneEncoding(fedtune::DecodeSurvivors(message), message);
  CheckOneEncoding(fedtune::DecodeAgreement(message), message);
  CheckOneEncoding(fedtune::DecodeAgreementProof(message), message);
  CheckOneEncoding(fedtune::DecodeUnmaskShares(message), message);
  return 0;
}
