// SPDX-License-Identifier: Apache-2.0

#include "tests/simulation/federation.h"

#include <bit>

#include "base/check.h"
#include "base/status.h"
#include "plan/routing_shape.h"
#include "simulation/draws.h"

namespace fedtune::simulation {
namespace {

constexpr char kName[] = "north";
constexpr const char* kInstitutions[] = {"ada",       "bern",  "charite", "delft",
                                         "eppendorf", "fulda", "graz",    "hvar"};
constexpr char kBaseModel[] = "examples/base_model/icd-moe";

template <typename T>
T Must(absl::StatusOr<T> value) {
  Check(value.ok(), Message(value.status()));
  return *std::move(value);
}

}  // namespace

const Federation& Federation::Get() {
  static const auto& federation = *new Federation;
  return federation;
}

Federation::Federation()
    : signers_(kName, {std::begin(kInstitutions), std::end(kInstitutions)},
               CipherSuite::kCurve25519),
      shelf_(new BaseModelShelf({kBaseModel})) {
  for (const char* name : kInstitutions) institutions_.push_back({name});
  const BaseModelDescription model = Must(ReadBaseModel(kBaseModel)).description;
  model_json_ = ToJson(model);
  routed_experts_ = static_cast<size_t>(Must(RoutingShapeOf(model, {.steps = 1})).counter_count());
}

std::vector<float> SyntheticallyTrained(const Institution& institution, const AdapterLayout& layout,
                                        FactorSet factors, std::span<const float> adapter,
                                        uint64_t nonce) {
  std::vector<float> trained(adapter.begin(), adapter.end());
  for (const AdapterTensor& tensor : layout.tensors()) {
    if (!Contains(factors, tensor.factor)) continue;
    for (auto i = static_cast<size_t>(tensor.offset);
         i < static_cast<size_t>(tensor.offset + tensor.size()); ++i) {
      Draws draws(std::bit_cast<uint32_t>(adapter[i]) +
                  (uint64_t{static_cast<uint8_t>(institution.value.front())} << 32) + (i << 40) +
                  nonce);
      trained[i] += static_cast<float>(draws.Below(2001) - 1000) * 0x1p-14F;
    }
  }
  return trained;
}

}  // namespace fedtune::simulation
