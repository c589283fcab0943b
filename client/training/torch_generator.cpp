// SPDX-License-Identifier: Apache-2.0

#include "client/training/torch_generator.h"

#include <algorithm>
#include <cmath>
#include <span>
#include <utility>

#include "ATen/Parallel.h"
#include "base/status_macros.h"
#include "client/training/overflow.h"
#include "client/training/torch_errors.h"
#include "client/training/torch_model.h"
#include "fmt/format.h"
#include "model/transformer/decoder.h"
#include "model/transformer/finite_weights.h"

namespace fedtune {
namespace {

absl::Status CheckRequest(const GenerationRequest& request, const ModelConfig& config) {
  RETURN_IF_ERROR(CheckSampling(request.sampling));
  if (request.prompt.empty()) return absl::InvalidArgumentError("the prompt has no tokens");
  for (const int32_t token : request.prompt) {
    if (token >= 0 && token < config.vocabulary_size) continue;
    return absl::InvalidArgumentError(
        fmt::format("the prompt has token {}, but the vocabulary ends at {}", token,
                    config.vocabulary_size - 1));
  }
  const int64_t tokens = std::ssize(request.prompt) + request.max_tokens;
  if (request.max_tokens >= 1 && tokens <= config.context_length) return absl::OkStatus();
  return absl::InvalidArgumentError(
      fmt::format("a prompt of {} tokens and up to {} new ones: there must be at least one new "
                  "one, and the model's context has {}",
                  request.prompt.size(), request.max_tokens, config.context_length));
}

class TorchGenerator final : public Generator {
 public:
  TorchGenerator(TorchModel model, Adapter adapter, bool adapts)
      : model_(std::move(model)), adapter_(std::move(adapter)), adapts_(adapts) {}

  absl::StatusOr<GeneratedText> Generate(const GenerationRequest& request,
                                         const TokenObserver& observer) override {
    return CatchingTorch([&] {
      at::set_num_threads(model_.threads);
      return Write(request, observer);
    });
  }

 private:
  absl::StatusOr<GeneratedText> Write(const GenerationRequest& request,
                                      const TokenObserver& observer) {
    RETURN_IF_ERROR(CheckRequest(request, model_.model.config));
    if (!embedding_is_checked_) RETURN_IF_ERROR(CheckFiniteEmbedding(model_.model));
    embedding_is_checked_ = true;
    Decoder decoder(model_.model, adapter_, std::ssize(request.prompt) + request.max_tokens);
    Sampler sampler(request.sampling);
    GeneratedText text;
    at::Tensor logits = decoder.Append(request.prompt);
    while (true) {
      RETURN_IF_ERROR(CheckLogits(logits));
      const int32_t token =
          sampler.Choose({logits.const_data_ptr<float>(), static_cast<size_t>(logits.numel())});
      text.ended = std::find(request.end_tokens.begin(), request.end_tokens.end(), token) !=
                   request.end_tokens.end();
      if (text.ended) return text;
      text.tokens.push_back(token);
      if (observer && !observer(token)) return absl::CancelledError("the generation was ended");
      if (std::ssize(text.tokens) == request.max_tokens) return text;
      logits = decoder.Append({&token, 1});
    }
  }

  absl::Status CheckLogits(const at::Tensor& logits) const {
    const std::span<const float> values(logits.const_data_ptr<float>(),
                                        static_cast<size_t>(logits.numel()));
    if (std::ranges::all_of(values, [](float x) { return std::isfinite(x); })) {
      return absl::OkStatus();
    }
    RETURN_IF_ERROR(CheckFiniteWeights(model_.model));
    return Overflowed(adapts_);
  }

  const TorchModel model_;
  const Adapter adapter_;
  const bool adapts_;  // With an adapter of something.
  bool embedding_is_checked_ = false;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Generator>> OpenTorchGenerator(const TorchTrainerOptions& options,
                                                              const AdapterLayout& layout,
                                                              std::span<const float> values) {
  return CatchingTorch([&]() -> absl::StatusOr<std::unique_ptr<Generator>> {
    ASSIGN_OR_RETURN(TorchModel model, OpenTorchModel(options));
    Adapter adapter;
    if (!values.empty()) {
      ASSIGN_OR_RETURN(adapter,
                       Adapter::Create(layout, model.model.linear_layers, model.model.device()));
      RETURN_IF_ERROR(adapter.Load(values));
    }
    return std::make_unique<TorchGenerator>(std::move(model), std::move(adapter),
                                            /*adapts=*/!values.empty());
  });
}

}  // namespace fedtune
