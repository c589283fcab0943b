// SPDX-License-Identifier: Apache-2.0

#include "plan/cost.h"

#include <algorithm>
#include <set>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "base/cpu.h"
#include "model/checkpoint/widened_weights.h"
#include "plan/routing_shape.h"
#include "plan/secure_vector.h"
#include "privacy/secure_aggregation/session_parameters.h"

namespace fedtune {
namespace {

constexpr int64_t kAdapterValueBytes = 4;

// As the client trains: so many tokens go through the model together, and so many logits,
// but of so many rows at least.
constexpr double kTokensTogether = 8192;
constexpr double kLogitsTogether = 1 << 22;
constexpr double kFewestLogitRows = 128;

// Measured with bench/run.sh train: what the program holds before it trains, and
// how much more the heap holds than what is alive in it. Of GPUs the latter is a guess.
constexpr int64_t kProgramBytes = 150'000'000;
constexpr double kHeapOverhead = 1.05;
constexpr double kGpuHeapOverhead = 1.3;

// Values that clients train over the whole run.
int64_t ValuesOverRun(const Plan& plan, const AdapterLayout& layout) {
  // No schedule of factors repeats after more than two rounds.
  const int64_t even = layout.parameter_count(TrainedFactors(plan.aggregation.method, 0));
  const int64_t odd = layout.parameter_count(TrainedFactors(plan.aggregation.method, 1));
  return (plan.rounds.count + 1) / 2 * even + plan.rounds.count / 2 * odd;
}

int64_t LargestRound(const Plan& plan, const AdapterLayout& layout) {
  return std::max(layout.parameter_count(TrainedFactors(plan.aggregation.method, 0)),
                  layout.parameter_count(TrainedFactors(plan.aggregation.method, 1)));
}

// Bytes of the protocol's messages, of one client in a round with as many
// clients, all but the masked vector (docs/SECURE_AGGREGATION.md).
struct ProtocolBytes {
  int64_t up = 0;
  int64_t down = 0;
};

ProtocolBytes MessageBytes(int64_t clients) {
  const int64_t neighbors = std::min<int64_t>(clients, kLargestCompleteGraph) - 1;
  // Up a sealed share and an opened one for each neighbour, keys and signatures
  // besides; down keys, sealed shares and proofs of everyone.
  return {.up = neighbors * (96 + 40) + 500, .down = clients * (292 + 104 + 68)};
}

int64_t LimbBytes(const SecurePlan& secure, RoutingShape routing) {
  const auto counters = MaskedLayoutOf(secure, /*value_count=*/0, routing);
  Check(counters.ok(), "the cost of a plan that cannot work");
  return static_cast<int64_t>(BytesPerElement(secure.ring)) * counters->limb_count();
}

void AddTransfer(const Plan& plan, RoutingShape routing, int64_t values_over_run, PlanCost& cost) {
  const int64_t rounds = std::max<int64_t>(1, plan.rounds.count);
  int64_t value_bytes = kAdapterValueBytes;
  if (plan.aggregation.mode == AggregationMode::kSecure) {
    const int64_t limb_bytes = LimbBytes(plan.secure, routing);
    const ProtocolBytes messages = MessageBytes(plan.secure.max_cohort);
    value_bytes = static_cast<int64_t>(BytesPerElement(plan.secure.ring));
    cost.secure_upload_bytes_a_round = limb_bytes + messages.up;
    cost.secure_download_bytes_a_round = messages.down;
    cost.routing_upload_bytes_a_round = limb_bytes - LimbBytes(plan.secure, {});
  }
  cost.upload_bytes_a_round = static_cast<double>(value_bytes) * cost.parameters_a_round +
                              static_cast<double>(cost.secure_upload_bytes_a_round);
  cost.download_bytes_a_round =
      kAdapterValueBytes * cost.trained_parameters + cost.secure_download_bytes_a_round;
  cost.transfer_bytes =
      value_bytes * values_over_run +
      (rounds + 1) * (cost.secure_upload_bytes_a_round + cost.download_bytes_a_round) -
      cost.routing_upload_bytes_a_round;
}

bool EndsIn(const LinearLayer& layer, std::string_view leaf) { return layer.name.ends_with(leaf); }

// What a token leaves behind for the backward pass in one attention layer's
// projection: inputs of the projections, heads, and what they attended to.
int64_t AttentionValues(const LinearLayer& layer) {
  if (EndsIn(layer, "o_proj")) return 2 * layer.in_features + 2 * layer.out_features;
  if (EndsIn(layer, "kv_b_proj")) return layer.in_features;
  if (EndsIn(layer, "q_b_proj")) return 2 * layer.in_features + 2 * layer.out_features;
  if (EndsIn(layer, "q_proj")) return 2 * layer.out_features;
  return EndsIn(layer, "q_a_proj") ? 0 : layer.out_features;
}

double ExpertShare(const BaseModelDescription& model) {
  return static_cast<double>(model.experts_per_token) /
         static_cast<double>(std::max<int64_t>(1, model.routed_expert_count));
}

// Whether a CPU with AVX-512 computes with weights in bf16 as they are: those of a model
// that is not small, or too large to be widened.
bool StaysBf16(const BaseModelDescription& model) {
  const bool is_bf16 = !model.has_fp16 && model.weight_bytes >= 2 * model.parameter_count &&
                       model.weight_bytes < 4 * model.parameter_count;
  return is_bf16 && model.parameter_count >= kMaxExactParameters;
}

// How a client computes what activations are of.
struct Computation {
  const BaseModelDescription& model;
  ComputeType type;

  // Experts that go one after the other, as adapted ones on a GPU and all on a CPU
  // without kernels for them, keep what all of them took and gave.
  bool experts_in_turn = false;

  // Latent attention by a CPU's kernels takes its heads from where projections wrote them.
  bool assembles_no_heads = false;

  bool on_gpu() const { return type == ComputeType::kBf16; }
  bool by_kernels() const {
    return type == ComputeType::kFp32 || type == ComputeType::kFp32Rounding;
  }
  bool rounds() const { return type == ComputeType::kFp32Rounding && StaysBf16(model); }
};

Computation ComputationOf(const BaseModelDescription& model, const AdapterLayout& layout,
                          ComputeType type) {
  std::set<std::string_view> experts;
  for (const LinearLayer& layer : model.linear_layers) {
    if (layer.kind == LayerKind::kRoutedExpert) experts.insert(layer.name);
  }
  const bool adapted =
      std::any_of(layout.modules().begin(), layout.modules().end(),
                  [&](const AdapterModule& module) { return experts.contains(module.name); });
  const bool in_turn = type == ComputeType::kFp32Widened || (type == ComputeType::kBf16 && adapted);
  Computation computation = {model, type, in_turn};
  computation.assembles_no_heads =
      computation.by_kernels() &&
      std::any_of(model.linear_layers.begin(), model.linear_layers.end(),
                  [](const LinearLayer& layer) { return EndsIn(layer, "kv_b_proj"); });
  return computation;
}

// What the products of a layer take, as it is kept for the gradients of A.
double TakenValues(const LinearLayer& layer, const Computation& computation) {
  const auto taken = static_cast<double>(layer.in_features);
  return computation.rounds() ? taken / 2 : taken;
}

// As AttentionValues(), of projections whose results are the heads; those that take x have it
// together. Norms keep what they took, too.
double LatentValues(const LinearLayer& layer, const Computation& computation) {
  const double taken = TakenValues(layer, computation);
  const auto given = static_cast<double>(layer.out_features);
  if (EndsIn(layer, "o_proj")) return taken + 2 * given;
  if (EndsIn(layer, "q_b_proj")) return static_cast<double>(layer.in_features) + taken + given;
  if (EndsIn(layer, "q_a_proj")) return 0;
  return EndsIn(layer, "q_proj") ? given : taken + given;
}

// What a token leaves behind in an MLP's projection that it goes through.
double MlpValues(const LinearLayer& layer, const Computation& computation) {
  const auto given = static_cast<double>(layer.out_features);
  if (!EndsIn(layer, "down_proj")) return computation.rounds() ? given / 2 : given;
  const bool is_kept = layer.kind == LayerKind::kRoutedExpert ? computation.experts_in_turn
                                                              : layer.kind == LayerKind::kDenseMlp;
  return is_kept ? 2 * given : 0;
}

// Values that one token leaves behind for the backward pass in a linear layer.
double KeptValues(const LinearLayer& layer, const Computation& computation) {
  switch (layer.kind) {
    case LayerKind::kAttention:
      return computation.assembles_no_heads ? LatentValues(layer, computation)
                                            : static_cast<double>(AttentionValues(layer));
    case LayerKind::kRouter:
      return (computation.by_kernels() ? TakenValues(layer, computation)
                                       : static_cast<double>(2 * layer.in_features)) +
             static_cast<double>(layer.out_features);
    case LayerKind::kHead:
      return 0;
    case LayerKind::kRoutedExpert:
      return ExpertShare(computation.model) * MlpValues(layer, computation);
    default:
      return MlpValues(layer, computation);
  }
}

// "model.layers.3." of "model.layers.3.mlp.gate_proj"; empty if it is in none.
std::string_view TransformerLayerOf(const LinearLayer& layer) {
  constexpr std::string_view kLayers = "layers.";
  const std::string_view name = layer.name;
  const size_t layers = name.find(kLayers);
  if (layers == std::string_view::npos) return "";
  return name.substr(0, name.find('.', layers + kLayers.size()));
}

// The same by transformer layer, in their order; what is in none is as the layer before.
std::vector<double> KeptValuesByLayer(const Computation& computation) {
  std::vector<double> values(1);
  std::string_view current;
  for (const LinearLayer& layer : computation.model.linear_layers) {
    const std::string_view own = TransformerLayerOf(layer);
    if (!own.empty() && !current.empty() && own != current) values.push_back(0);
    if (!own.empty()) current = own;
    values.back() += KeptValues(layer, computation);
  }
  return values;
}

// Values of one token in memory at two moments that may be the worst.
struct TokenValues {
  double behind_the_forward_pass = 0;
  double in_the_backward_pass = 0;  // In the worst of the recomputed layers.
};

TokenValues ValuesPerToken(const Computation& computation, int64_t recomputed_layers) {
  const auto input = static_cast<double>(computation.model.hidden_size);
  double inputs = 0;
  TokenValues values;
  for (const double kept : KeptValuesByLayer(computation)) {
    if (recomputed_layers-- > 0) {
      inputs += input;
      values.in_the_backward_pass = std::max(values.in_the_backward_pass, inputs + kept);
    } else {
      values.behind_the_forward_pass += kept;
    }
  }
  values.behind_the_forward_pass += inputs;
  return values;
}

// How much more LibTorch's operations take, which write new tensors; measured.
int64_t TimesOfPassingValues(ComputeType type) {
  switch (type) {
    case ComputeType::kFp32:
    case ComputeType::kFp32Rounding:
      return 1;
    case ComputeType::kBf16:
      return 2;
    case ComputeType::kFp32Widened:
      break;
  }
  return 6;
}

// Values a token needs while one layer's experts are differentiated: its gradient
// and what the last projection took, for each expert.
double PassingValuesPerToken(const Computation& computation) {
  const BaseModelDescription& model = computation.model;
  const int64_t times = TimesOfPassingValues(computation.type);
  for (const LinearLayer& layer : model.linear_layers) {
    if (layer.kind != LayerKind::kRoutedExpert || !EndsIn(layer, "down_proj")) continue;
    return static_cast<double>(times * model.experts_per_token *
                               (layer.out_features + layer.in_features));
  }
  return 0;
}

// Logits, of as many rows as are in memory together.
double LogitValues(const BaseModelDescription& model, double tokens) {
  const auto vocabulary = static_cast<double>(std::max<int64_t>(1, model.vocabulary_size));
  return std::min(tokens, std::max(kFewestLogitRows, kLogitsTogether / vocabulary)) * vocabulary;
}

int64_t ActivationBytes(const TrainingPlan& training, const Computation& computation,
                        int64_t recomputed_layers) {
  const auto length = static_cast<double>(training.sequence_length);
  const double tokens = std::min(static_cast<double>(training.batch_size) * length,
                                 std::max(kTokensTogether, length));
  const TokenValues of_token = ValuesPerToken(computation, recomputed_layers);
  const double experts = tokens * PassingValuesPerToken(computation);
  const double values = std::max(tokens * of_token.behind_the_forward_pass +
                                     std::max(experts, LogitValues(computation.model, tokens)),
                                 tokens * of_token.in_the_backward_pass + experts);
  return static_cast<int64_t>(computation.on_gpu() ? kGpuHeapOverhead * 2 * values
                                                   : kHeapOverhead * 4 * values);
}

// Weights in bf16 of a model that is not small stay as they are on a CPU with AVX-512;
// others are widened, unless the model is very large. FP8 always is, then to bf16.
int64_t WeightBytes(const BaseModelDescription& model, ComputeType type) {
  const int64_t as_bf16 = 2 * model.parameter_count, widened = 2 * as_bf16;
  if (type == ComputeType::kBf16) return as_bf16;
  if (model.parameter_count > kMaxWidenedParameters) {
    const int64_t in_fp8 = std::max<int64_t>(0, as_bf16 - model.weight_bytes);
    return model.weight_bytes + 2 * in_fp8;
  }
  if (model.weight_bytes >= widened) return widened;
  const bool stays = type != ComputeType::kFp32Widened && StaysBf16(model);
  return stays ? model.weight_bytes : widened + model.weight_bytes;
}

}  // namespace

ComputeType ComputeTypeOfCpu() {
  switch (UsableCpuLevel()) {
    case CpuLevel::kPortable:
      return ComputeType::kFp32Widened;
    case CpuLevel::kAvx512:
      return ComputeType::kFp32;
    case CpuLevel::kAvx512Bf16:
    case CpuLevel::kAmxBf16:
      break;
  }
  return ComputeType::kFp32Rounding;
}

PlanCost EstimateCost(const Plan& plan, const BaseModelDescription& model,
                      const AdapterLayout& layout, ComputeType type, int64_t recomputed_layers) {
  const int64_t parameters = layout.parameter_count();
  const int64_t rounds = std::max<int64_t>(1, plan.rounds.count);
  const int64_t over_run = ValuesOverRun(plan, layout);
  const int64_t largest = LargestRound(plan, layout);
  const int64_t moments = plan.training.optimizer == LocalOptimizer::kAdamW ? 2 : 0;
  PlanCost cost;
  cost.trained_parameters = parameters;
  cost.share_of_base = static_cast<double>(parameters) /
                       static_cast<double>(std::max<int64_t>(1, model.parameter_count));
  cost.parameters_a_round = static_cast<double>(over_run) / static_cast<double>(rounds);
  const absl::StatusOr<RoutingShape> routing = RoutingShapeOf(model, plan.training);
  Check(routing.ok(), "the cost of a model that cannot be counted");
  AddTransfer(plan, *routing, over_run, cost);
  cost.program_bytes = type == ComputeType::kBf16 ? 0 : kProgramBytes;
  cost.weight_bytes = WeightBytes(model, type);
  cost.adapter_bytes = kAdapterValueBytes * (2 * parameters + largest + moments * largest);
  cost.activation_bytes =
      ActivationBytes(plan.training, ComputationOf(model, layout, type), recomputed_layers);
  return cost;
}

}  // namespace fedtune
