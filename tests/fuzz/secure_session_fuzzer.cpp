// SPDX-License-Identifier: Apache-2.0

// Sequences of messages from others to both sides of a secure aggregation, in
// every phase. The first byte is the phase that an honest round of four has
// reached; then come steps of two bytes and what they need: who, and which of
// their message's bytes are another. No second answer of a kind leaves a client,
// and a coordinator that is done has the exact sum.

#include <cstddef>
#include <cstdint>
#include <map>
#include <vector>

#include "base/check.h"
#include "tests/support/secure_round.h"

namespace {

using fedtune::Bytes;
using fedtune::Check;
using fedtune::CoordinatorSession;
using fedtune::testing::PlayedRound;
using fedtune::testing::SecureRound;
using Phase = CoordinatorSession::Phase;

class Reader {
 public:
  Reader(const uint8_t* data, size_t size) : data_(data), size_(size) {}
  bool empty() const { return at_ == size_; }
  uint8_t Next() { return empty() ? uint8_t{0} : data_[at_++]; }

 private:
  const uint8_t* data_;
  size_t size_;
  size_t at_ = 0;
};

// The bytes as they are, changed at some places, cut, or only made of the input.
Bytes Changed(Bytes message, Reader& input) {
  const uint8_t how = input.Next();
  const size_t count = input.Next() % 8;
  if (how % 4 == 1) message.resize(message.size() * input.Next() / 255);
  if (how % 4 == 2) message.assign(1, input.Next());
  for (size_t i = 0; i < count; ++i) {
    const size_t at = input.Next() * size_t{256} + input.Next();
    if (how % 4 == 2) {
      message.push_back(input.Next());
    } else if (!message.empty()) {
      message[at % message.size()] ^= input.Next();
    }
  }
  return message;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const auto& round = *new SecureRound({.clients = 4, .elements = 3});
  Reader input(data, size);
  PlayedRound played(round);
  played.PlayUntil(static_cast<Phase>(input.Next() % 5));
  std::map<std::pair<uint32_t, uint8_t>, Bytes> said;
  for (int step = 0; step < 16 && !input.empty(); ++step) {
    const uint32_t number = 1 + input.Next() % 4;
    Bytes message = played.coordinator().MessageFor(number);
    if (input.Next() % 2 == 0) {
      const auto answer = played.client(number).Receive(Changed(std::move(message), input));
      if (!answer.ok() || answer->empty()) continue;
      const auto first = said.emplace(std::pair(number, (*answer)[0]), *answer).first;
      Check(first->second == *answer, "a client says one thing of a kind");
    } else {
      const auto made = said.lower_bound({number, 0});
      if (made != said.end() && made->first.first == number) message = made->second;
      (void)played.coordinator().Receive(number, Changed(std::move(message), input));
      played.coordinator().Advance(input.Next() % 8 == 0);
    }
  }
  played.Play();
  if (played.coordinator().phase() == Phase::kFailed) {
    Check(!played.coordinator().failure().empty(), "a round that fails says why");
    return 0;
  }
  Check(played.Sum() == round.PlainSum(played.coordinator().Survivors()), "the sum is exact");
  return 0;
}
