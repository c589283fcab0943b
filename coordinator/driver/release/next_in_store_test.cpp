// SPDX-License-Identifier: Apache-2.0

// What changes on the disk under a run's adapter is noticed when the next one is made.

#include "coordinator/driver/release/next_in_store.h"

#include <memory>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"
#include "tests/support/stored_run.h"

namespace fedtune {
namespace {

using testing::HasCode;
using ::testing::HasSubstr;
using testing::IsOk;

constexpr int64_t kBlock = SteppedValues::kBlockValues;
constexpr int64_t kCount = 2 * kBlock + 5;
constexpr OptimizerStateHead kAdam{.steps_a = 1, .first_count = kCount, .second_count = kCount};

// Of some values, and what lies under them.
struct Bytes {
  explicit Bytes(std::string_view head, size_t values)
      : bytes(std::make_shared<std::vector<std::byte>>(head.size() + sizeof(float) * values)) {
    std::copy_n(reinterpret_cast<const std::byte*>(head.data()), head.size(), bytes->begin());
  }
  Blob blob() const { return Blob(bytes, *bytes); }
  void Flip(uint64_t at) const { bytes->at(at) ^= std::byte{1}; }

  std::shared_ptr<std::vector<std::byte>> bytes;
};

class NextInStoreTest : public testing::StoredRunFixture {
 protected:
  NextInStoreTest() { state_stored_.sums = SumsOf(adapter_, state_stored_); }

  std::unique_ptr<NextInStore> Next() {
    return *NextInStore::Create(*stored_, adapter_, state_stored_, kAdam);
  }

  // The block that begins there, which the step leaves as it is.
  static absl::Status Step(NextInStore& next, int64_t first) {
    std::array<std::vector<float>, 3> parts;
    for (auto& part : parts) part.resize(static_cast<size_t>(std::min(kBlock, kCount - first)));
    const SteppedValues::Block block{parts[0], parts[1], parts[2]};
    absl::Status loaded = next.Load(first, block);
    return loaded.ok() ? next.Store(first, block) : loaded;
  }

  const Bytes values_{"", kCount};
  const Bytes moments_{kAdam.ToBytes(), 2 * kCount};
  const GlobalAdapter adapter_{values_.blob(), Sha256Of(values_.blob().bytes())};
  StoredOptimizerState state_stored_{.head = kAdam, .blob = moments_.blob()};
};

TEST_F(NextInStoreTest, TakesWhatIsAsItWas) {
  const auto next = Next();
  for (int64_t first = 0; first < kCount; first += kBlock) EXPECT_THAT(Step(*next, first), IsOk());
}

TEST_F(NextInStoreTest, NoticesAValueThatHasChanged) {
  values_.Flip(sizeof(float) * (kBlock + 3));
  const auto next = Next();
  EXPECT_THAT(Step(*next, 0), IsOk());
  const absl::Status damaged = Step(*next, kBlock);
  EXPECT_THAT(damaged, HasCode(absl::StatusCode::kDataLoss));
  EXPECT_THAT(damaged.message(), HasSubstr("damaged on the disk"));
}

TEST_F(NextInStoreTest, NoticesAMomentThatHasChanged) {
  moments_.Flip(kAdam.SecondAt(2 * kBlock + 4));
  const auto next = Next();
  EXPECT_THAT(Step(*next, kBlock), IsOk());
  EXPECT_THAT(Step(*next, 2 * kBlock), HasCode(absl::StatusCode::kDataLoss));
}

TEST_F(NextInStoreTest, KnowsWhatItHasMadeItself) {
  const auto next = Next();
  for (int64_t first = 0; first < kCount; first += kBlock) ASSERT_THAT(Step(*next, first), IsOk());
  ASSERT_THAT(next->Finish(), IsOk());
  const auto after = *NextInStore::Create(*stored_, next->adapter(), next->state(), kAdam);
  EXPECT_THAT(Step(*after, kBlock), IsOk());
}

}  // namespace
}  // namespace fedtune
