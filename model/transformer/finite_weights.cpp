// SPDX-License-Identifier: Apache-2.0

#include "model/transformer/finite_weights.h"

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include "base/files.h"
#include "fmt/format.h"
#include "model/transformer/parallel.h"

namespace fedtune {
namespace {

constexpr size_t kPieceBytes = size_t{1} << 20;

// Some bytes of one tensor.
struct Piece {
  size_t tensor;
  std::span<const std::byte> bytes;
};

// Infinities and NaNs are those whose exponent has all its bits. Files may hold
// values at any address.
template <typename Bits>
bool AllFinite(std::span<const std::byte> bytes, Bits exponent) {
  unsigned bad = 0;
  for (size_t i = 0; i < bytes.size(); i += sizeof(Bits)) {
    Bits value;
    std::memcpy(&value, bytes.data() + i, sizeof(value));
    bad |= (value & exponent) == exponent ? 1U : 0U;
  }
  return bad == 0;
}

bool AllFinite(const TensorView& tensor, std::span<const std::byte> bytes) {
  switch (tensor.type) {
    case TensorType::kF32:
      return AllFinite<uint32_t>(bytes, 0x7f800000);
    case TensorType::kBF16:
      return AllFinite<uint16_t>(bytes, 0x7f80);
    case TensorType::kF16:
      return AllFinite<uint16_t>(bytes, 0x7c00);
    default:
      return true;  // Became something else when it was loaded, which was looked at then.
  }
}

std::vector<std::string> EmbeddingsOf(const Model& model) {
  std::vector<std::string> names = {"model.embed_tokens"};
  if (model.config.tie_embeddings) names.emplace_back("lm_head");
  return names;
}

// The model's matrices in its files: those that it computes with where they lie, and
// some that were copied.
std::vector<TensorView> Find(const std::vector<std::string>& names, const Model& model) {
  std::vector<TensorView> matrices;
  for (const std::string& name : names) {
    const TensorView* found = model.files->Find(name + ".weight");
    if (found != nullptr) matrices.push_back(*found);
  }
  return matrices;
}

std::vector<Piece> PiecesOf(const std::vector<TensorView>& matrices) {
  std::vector<Piece> pieces;
  for (size_t i = 0; i < matrices.size(); ++i) {
    const std::span<const std::byte> bytes = matrices[i].bytes;
    for (size_t at = 0; at < bytes.size(); at += kPieceBytes) {
      pieces.push_back({i, bytes.subspan(at, std::min(kPieceBytes, bytes.size() - at))});
    }
  }
  return pieces;
}

// Of the embedding a text takes some rows, which are read again.
void ReleaseEmbedding(const Model& model) {
  if (model.config.tie_embeddings) return;
  const TensorView* embedding = model.files->Find("model.embed_tokens.weight");
  if (embedding != nullptr) MappedFile::Release(embedding->bytes);
}

absl::Status CheckFinite(const std::vector<std::string>& names, const Model& model) {
  if (!model.device().is_cpu()) return absl::OkStatus();
  const std::vector<TensorView> matrices = Find(names, model);
  const std::vector<Piece> pieces = PiecesOf(matrices);
  std::atomic<size_t> first_bad = matrices.size();
  InParallel(std::ssize(pieces), [&](int64_t task) {
    const Piece& piece = pieces[static_cast<size_t>(task)];
    if (piece.tensor >= first_bad || AllFinite(matrices[piece.tensor], piece.bytes)) return;
    for (size_t before = first_bad; piece.tensor < before;) {
      if (first_bad.compare_exchange_weak(before, piece.tensor)) break;
    }
  });
  if (first_bad == matrices.size()) {
    ReleaseEmbedding(model);
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      fmt::format("{}: tensor {} has a value that is not finite; the checkpoint is damaged",
                  model.files->directory().string(), matrices[first_bad].name));
}

}  // namespace

absl::Status CheckFiniteWeights(const Model& model) {
  std::vector<std::string> names = EmbeddingsOf(model);
  for (const LinearLayer& layer : model.linear_layers) names.push_back(layer.name);
  return CheckFinite(names, model);
}

absl::Status CheckFiniteEmbedding(const Model& model) {
  return CheckFinite(EmbeddingsOf(model), model);
}

}  // namespace fedtune
