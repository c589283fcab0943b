// SPDX-License-Identifier: Apache-2.0

#include "model/transformer/transformer_device_tests.h"

#include <string>
#include <utility>

#include "ATen/TensorOperators.h"
#include "ATen/core/grad_mode.h"
#include "ATen/ops/arange.h"
#include "ATen/ops/embedding.h"
#include "ATen/ops/from_blob.h"
#include "ATen/ops/full_like.h"
#include "ATen/ops/stack.h"
#include "base/check.h"
#include "fmt/format.h"
#include "model/transformer/attention.h"
#include "model/transformer/decoder.h"
#include "model/transformer/dropout.h"
#include "model/transformer/experts.h"
#include "model/transformer/grouped_experts.h"
#include "model/transformer/loss.h"
#include "model/transformer/mlp.h"
#include "model/transformer/model.h"
#include "model/transformer/rms_norm.h"
#include "model/transformer/rotary.h"
#include "model/transformer/router.h"

namespace fedtune {
namespace {

using Results = std::vector<at::Tensor>;

// bf16 has 8 significant bits, and results are sums of rounded products: the CPU itself is within
// 0.013 of what it computes in fp32.
constexpr double kOfBf16 = 0.03;

struct LayerSize {
  int64_t in = 0;
  int64_t out = 0;
};

// Frozen layers in bf16, each with LoRA factors that are trained.
class AdaptedLayers {
 public:
  AdaptedLayers(const std::vector<LayerSize>& sizes, at::Device device) {
    std::vector<AdapterModule> modules;
    std::vector<LinearLayer> layers;
    for (size_t i = 0; i < sizes.size(); ++i) {
      const auto [in, out] = sizes[i];
      const auto seed = static_cast<double>(i);
      layers.push_back({fmt::format("layer{}", i), LayerKind::kAttention, in, out});
      modules.push_back({layers.back().name, in, out, /*lora_rank=*/8, /*alpha=*/4});
      linear_.push_back({TestNumbers({out, in}, seed, device) * 0.2, static_cast<int64_t>(i)});
    }
    const AdapterLayout layout = *AdapterLayout::Create(std::move(modules));
    adapter_ = *Adapter::Create(layout, layers, device);
    const at::Tensor values =
        TestNumbers({layout.parameter_count()}, 5, at::kCPU, at::kFloat) * 0.2;
    const auto count = static_cast<size_t>(values.numel());
    Check(adapter_.Load({values.const_data_ptr<float>(), count}).ok(), "values of the layout");
    adapter_.Train(FactorSet::kBoth);
  }

  void Drop(double rate) { adapter_.DropInputs(rate, /*key=*/11); }

  const Linear& operator[](size_t index) const { return linear_[index]; }
  const LoraFactors& lora(size_t index) const { return adapter_.Of(linear_[index]); }
  const Adapter& adapter() const { return adapter_; }

  // `y`, and the gradients of sum(y^2) / 2 with respect to `x` and the factors.
  Results WithGradients(const at::Tensor& y, const at::Tensor& x) const {
    y.backward(y.detach());
    return {y.detach(), x.grad(), adapter_.trained_gradients()};
  }

 private:
  std::vector<Linear> linear_;
  Adapter adapter_;
};

Results WithGradient(const at::Tensor& y, const at::Tensor& x) {
  y.backward(y.detach());
  return {y.detach(), x.grad()};
}

at::Tensor Input(int64_t rows, at::Device device) {
  return TestNumbers({rows, 64}, 1, device).requires_grad_();
}

Results RunCopies(at::Device device) {
  const at::Tensor whole = at::arange(40, at::TensorOptions(at::kLong));
  return {whole.to(device), (whole % 3 == 1).to(device), TestNumbers({40}, 1, device, at::kFloat),
          TestNumbers({40}, 2, device, at::kFloat).to(at::kBFloat16)};
}

Results RunAdapter(at::Device device) {
  const AdaptedLayers layers({{64, 48}, {32, 64}}, device);
  std::vector<float> values = layers.adapter().Store();
  return {at::from_blob(values.data(), {static_cast<int64_t>(values.size())}, at::kFloat).clone()};
}

Results RunEmbedding(at::Device device) {
  const at::Tensor tokens = at::arange(20, at::TensorOptions(at::kLong)) * 7 % 50;
  return {at::embedding(TestNumbers({50, 64}, 1, device), tokens.to(device))};
}

Results RunLinear(double dropout, at::Device device) {
  AdaptedLayers layers({{64, 48}}, device);
  layers.Drop(dropout);
  Linear linear = layers[0];
  linear.bias = TestNumbers({48}, 3, device);
  const at::Tensor x = Input(32, device);
  return layers.WithGradients(ApplyLinear(x, linear, layers.lora(0)), x);
}

// Of an odd number of values, so that one random number is for two rows.
Results RunDropout(at::Device device) {
  const at::Tensor x = TestNumbers({9, 7}, 1, device);
  constexpr uint64_t kKey = 0xfedcba9876543210;
  return {DropoutMask(x, {.rate = 0.3, .key = kKey, .first_row = 0}),
          DropoutMask(x, {.rate = 0.3, .key = kKey, .first_row = 9})};
}

Results RunNorm(at::Device device) {
  const at::Tensor x = Input(32, device);
  return WithGradient(RmsNorm(x, TestNumbers({64}, 2, device, at::kFloat), 1e-6), x);
}

Results RunMlp(at::Device device) {
  const AdaptedLayers layers({{64, 96}, {64, 96}, {96, 64}}, device);
  const at::Tensor x = Input(32, device);
  return layers.WithGradients(x + ApplyMlp(x, {layers[0], layers[1], layers[2]}, layers.adapter()),
                              x);
}

// ---- Attention ----

AttentionContext ContextOf(const PackedBatch& batch, int64_t rope, at::Device device) {
  const at::Tensor positions =
      at::from_blob(const_cast<int64_t*>(batch.positions().data()), {batch.rows()}, at::kLong);
  const at::Tensor frequencies = TestNumbers({rope / 2}, 2, device, at::kFloat);
  return {PlanAttention(batch, device), Rotations(positions.to(device), frequencies, 1)};
}

// Two heads, and queries that come from a latent.
constexpr int64_t kHeads = 2;

std::vector<LayerSize> ProjectionSizes(const MlaConfig& mla) {
  const int64_t q = mla.q_lora_rank, kv = mla.kv_lora_rank;
  return {{64, q},
          {q, kHeads * mla.qk_head_dim()},
          {64, kv + mla.qk_rope_head_dim},
          {kv, kHeads * (mla.qk_nope_head_dim + mla.v_head_dim)}};
}

// Of the first layers, which have the sizes above.
MlaWeights ProjectionsOf(const AdaptedLayers& layers, const MlaConfig& mla, at::Device device) {
  MlaWeights weights;
  weights.q_a_proj = layers[0];
  weights.q_a_norm = TestNumbers({mla.q_lora_rank}, 3, device, at::kFloat);
  weights.q_b_proj = layers[1];
  weights.kv_a_proj = layers[2];
  weights.kv_a_norm = TestNumbers({mla.kv_lora_rank}, 4, device, at::kFloat);
  weights.kv_b_proj = layers[3];
  return weights;
}

Results RunAttention(const MlaConfig& mla, const PackedBatch& batch, at::Device device) {
  const AttentionShape shape = {mla, kHeads, 0.2, RotaryPairs::kNeighbours};
  const AdaptedLayers layers(ProjectionSizes(mla), device);
  const MlaWeights weights = ProjectionsOf(layers, mla, device);
  const at::Tensor x = Input(batch.rows(), device);
  const at::Tensor y = AttendedValues(x, {weights, {}}, shape, layers.adapter(),
                                      ContextOf(batch, mla.qk_rope_head_dim, device));
  return y.requires_grad() ? layers.WithGradients(y, x) : Results{y};
}

// Four heads, two with one key and value each.
Results RunGroupedQueryAttention(at::Device device) {
  const GqaConfig gqa = {2, 32};
  const AttentionShape shape = {gqa, 4, 0.2, RotaryPairs::kHalves};
  const AdaptedLayers layers({{64, 128}, {64, 64}, {64, 64}}, device);
  PackedBatch batch;
  batch.Add(std::vector<int32_t>(24, 1));
  const at::Tensor x = Input(batch.rows(), device);
  const GqaWeights weights = {layers[0], layers[1], layers[2]};
  return layers.WithGradients(AttendedValues(x, {weights, {}}, shape, layers.adapter(),
                                             ContextOf(batch, gqa.head_dim, device)),
                              x);
}

constexpr MlaConfig kSmallHeads = {24, 32, 32, 16, 32};
constexpr MlaConfig kDeepSeekHeads = {24, 32, 128, 64, 128};

const std::vector<int32_t> kTokens(24, 1);

// Training: the second sequence is padded.
Results RunCausalAttention(const MlaConfig& mla, at::Device device) {
  PackedBatch batch;
  batch.Add(kTokens);
  batch.Add(std::span(kTokens).first(17));
  return RunAttention(mla, batch, device);
}

// Evaluation: two answers to one prompt.
Results RunMaskedAttention(const MlaConfig& mla, at::Device device) {
  const at::NoGradGuard no_grad;
  PackedBatch batch;
  batch.Add(std::span(kTokens).first(13));
  batch.AddContinuation(0, std::span(kTokens).first(4));
  batch.AddContinuation(0, std::span(kTokens).first(6));
  return RunAttention(mla, batch, device);
}

// ---- Experts ----

constexpr int64_t kExperts = 8;
constexpr int64_t kWidth = 32;

MoeConfig Moe(ExpertChoice choice) {
  MoeConfig moe;
  moe.routed_expert_count = kExperts;
  moe.shared_expert_count = 1;
  moe.experts_per_token = 2;
  moe.choice = choice;
  moe.group_count = 4;
  moe.groups_per_token = 2;
  moe.normalize_weights = choice != ExpertChoice::kGroupLimitedGreedy;
  if (choice == ExpertChoice::kBiasedGroups) {
    moe.scores = RouterScores::kSigmoid;
    moe.weight_scaling = WeightScaling::kNormalizeAndScale;
  }
  return moe;
}

Linear Gate(at::Device device) {
  return {TestNumbers({kExperts, 64}, 6, device, at::kFloat) * 0.3, -1};
}

Results RunRouter(ExpertChoice choice, at::Device device) {
  const at::Tensor x = Input(24, device);
  const bool biased = choice == ExpertChoice::kBiasedGroups;
  const at::Tensor bias = TestNumbers({kExperts}, 8, device, at::kFloat) * 0.1;
  const Routing routing = Route(x, Gate(device), {}, biased ? bias : at::Tensor(), Moe(choice));
  Results results = WithGradient(routing.weights, x);
  results.push_back(routing.experts);
  return results;
}

struct MixtureSize {
  int64_t rows = 0;
  int64_t hidden = 0;
  int64_t width = 0;
};

// GPUs have a kernel for few rows or columns, and one for more than 128 of each.
constexpr MixtureSize kSmallMixture = {40, 64, kWidth};
constexpr MixtureSize kLargeMixture = {320, 192, 136};

// Everybody's second choice is expert 3, and expert 1 has no rows.
Results RunGroupedExperts(const MixtureSize& size, at::Device device) {
  const at::Tensor row = at::arange(size.rows, at::TensorOptions(at::kLong));
  const at::Tensor choices = at::stack({row % 2 * 2, at::full_like(row, 3)}, 1).to(device);
  const at::Tensor x = TestNumbers({size.rows, size.hidden}, 1, device).requires_grad_();
  const at::Tensor weights = TestNumbers({size.rows, 2}, 4, device, at::kFloat).requires_grad_();
  const GroupedWeights experts = {TestNumbers({4, 2 * size.width, size.hidden}, 2, device) * 0.2,
                                  TestNumbers({4, size.hidden, size.width}, 3, device) * 0.2};
  const ExpertPlan plan = PlanExperts(choices, 4, SlotPadding::kNone);
  Results results = WithGradient(MixGroupedExperts(x, experts, plan, weights), x);
  results.push_back(weights.grad());
  return results;
}

std::vector<LayerSize> ExpertSizes(int64_t experts) {
  std::vector<LayerSize> sizes;
  for (int64_t i = 0; i < experts; ++i) {
    sizes.insert(sizes.end(), {{64, kWidth}, {64, kWidth}, {kWidth, 64}});
  }
  return sizes;
}

MlpWeights ExpertOf(const AdaptedLayers& layers, size_t index) {
  return {layers[3 * index], layers[3 * index + 1], layers[3 * index + 2]};
}

Results RunExpertsInTurn(at::Device device) {
  const AdaptedLayers layers(ExpertSizes(3), device);
  const std::vector<MlpWeights> experts = {ExpertOf(layers, 0), ExpertOf(layers, 1),
                                           ExpertOf(layers, 2)};
  const at::Tensor x = Input(40, device);
  return layers.WithGradients(ApplyExpertsInTurn(x, experts, layers.adapter(), {23, 0, 17}), x);
}

// Only the shared expert is adapted: the usual targets.
Results RunMixture(at::Device device) {
  const AdaptedLayers layers(ExpertSizes(1), device);
  MoeWeights weights;
  weights.gate = Gate(device);
  weights.gate_up = TestNumbers({kExperts, 2 * kWidth, 64}, 2, device) * 0.2;
  weights.down = TestNumbers({kExperts, 64, kWidth}, 3, device) * 0.2;
  weights.shared = ExpertOf(layers, 0);
  const at::Tensor x = Input(24, device);
  return layers.WithGradients(ApplyMoe(x, weights, Moe(ExpertChoice::kGreedy), layers.adapter()),
                              x);
}

// ---- Losses ----

constexpr int64_t kVocabulary = 90;

Results RunTrainingLoss(at::Device device) {
  const AdaptedLayers layers({{64, kVocabulary}}, device);
  const at::Tensor x = Input(6, device);
  const std::vector<int64_t> targets = {11, 50, 23, 0, 89, 50};
  const at::Tensor loss = TokenLossSum(x, layers[0], layers.lora(0), targets);
  return layers.WithGradients(loss / 6, x);
}

Results RunEvaluationLoss(at::Device device) {
  const AdaptedLayers layers({{64, kVocabulary}}, device);
  const Predictions predictions = {{0, 0, 3, 5}, {11, 50, 23, 89}};
  std::vector<float> losses =
      TokenLosses(Input(6, device).detach(), layers[0], layers.lora(0), predictions);
  return {at::from_blob(losses.data(), {4}, at::kFloat).clone()};
}

// ---- Generation ----

// One layer, and a tied head.
Model SmallModel(const AdaptedLayers& layers, const MlaConfig& mla, at::Device device) {
  const auto norm = [&](double seed) { return TestNumbers({64}, seed, device, at::kFloat); };
  Model model;
  model.config.hidden_size = 64;
  model.config.head_count = kHeads;
  model.config.vocabulary_size = kVocabulary;
  model.config.attention = mla;
  model.embedding = TestNumbers({kVocabulary, 64}, 1, device);
  model.layers.push_back({norm(6),
                          {ProjectionsOf(layers, mla, device), layers[4]},
                          norm(7),
                          MlpWeights{layers[5], layers[6], layers[7]}});
  model.norm = norm(8);
  model.head = {model.embedding, -1};
  model.rotary_frequencies = TestNumbers({mla.qk_rope_head_dim / 2}, 2, device, at::kFloat);
  model.compute_type = at::kBFloat16;
  return model;
}

// The logits behind a prompt and behind one token more.
Results RunDecoder(at::Device device) {
  std::vector<LayerSize> sizes = ProjectionSizes(kSmallHeads);
  sizes.insert(sizes.end(), {{kHeads * kSmallHeads.v_head_dim, 64}, {64, 96}, {64, 96}, {96, 64}});
  const AdaptedLayers layers(sizes, device);
  const Model model = SmallModel(layers, kSmallHeads, device);
  Decoder decoder(model, layers.adapter(), 8);
  const std::vector<int32_t> prompt = {3, 14, 15, 89, 26};
  return {decoder.Append(prompt), decoder.Append(std::span(prompt).first(1))};
}

}  // namespace

std::vector<DeviceTest> TransformerDeviceTests() {
  const auto with = [](auto run, auto argument) {
    return [run, argument](at::Device device) { return run(argument, device); };
  };
  return {
      {"copying there and back", RunCopies, 0},
      {"an adapter's way there and back", RunAdapter, 0},
      {"an embedding", RunEmbedding, 0},
      {"a linear layer with LoRA and a bias", with(RunLinear, 0.0), kOfBf16},
      {"dropout", RunDropout, 0},
      {"a linear layer with dropout", with(RunLinear, 0.3), kOfBf16},
      {"a norm", RunNorm, kOfBf16},
      {"an MLP", RunMlp, kOfBf16},
      {"causal attention", with(RunCausalAttention, kSmallHeads), kOfBf16},
      {"causal attention with DeepSeek's heads", with(RunCausalAttention, kDeepSeekHeads), kOfBf16},
      {"masked attention", with(RunMaskedAttention, kSmallHeads), kOfBf16},
      {"masked attention with DeepSeek's heads", with(RunMaskedAttention, kDeepSeekHeads), kOfBf16},
      {"attention with shared keys", RunGroupedQueryAttention, kOfBf16},
      {"a router", with(RunRouter, ExpertChoice::kGreedy), kOfBf16},
      {"a router with groups", with(RunRouter, ExpertChoice::kGroupLimitedGreedy), kOfBf16},
      {"a router with biased groups", with(RunRouter, ExpertChoice::kBiasedGroups), kOfBf16},
      {"grouped products", with(RunGroupedExperts, kSmallMixture), kOfBf16},
      {"large grouped products", with(RunGroupedExperts, kLargeMixture), kOfBf16},
      {"adapted experts", RunExpertsInTurn, kOfBf16},
      {"a mixture of experts", RunMixture, kOfBf16},
      {"the loss of training", RunTrainingLoss, kOfBf16},
      {"the loss of evaluation", RunEvaluationLoss, kOfBf16},
      {"reading a text", RunDecoder, kOfBf16},
  };
}

}  // namespace fedtune
