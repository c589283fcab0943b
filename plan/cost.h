// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <limits>

#include "aggregation/adapter_layout.h"
#include "model/checkpoint/base_model_description.h"
#include "plan/plan.h"

namespace fedtune {

// What a plan costs one client, before anything runs.
struct PlanCost {
  int64_t trained_parameters = 0;  // All values of the adapter.
  double share_of_base = 0;        // trained_parameters / the base model's.
  double parameters_a_round = 0;   // Trained in a round, on average over the run.

  // Up go the factors that the round trains, down the whole adapter. Adapters
  // travel as fp32; what a secure round masks, as elements of its ring, and with
  // it the protocol's messages, for the largest cohort that the plan allows.
  double upload_bytes_a_round = 0;
  int64_t download_bytes_a_round = 0;
  // Of these, what secure aggregation adds to the values; 0 in a plain plan.
  int64_t secure_upload_bytes_a_round = 0;
  int64_t secure_download_bytes_a_round = 0;
  // Of the former, what is counted of the routed experts.
  int64_t routing_upload_bytes_a_round = 0;
  // Over all rounds, and once more all but the values and the routed experts for the
  // final evaluation.
  int64_t transfer_bytes = 0;

  // See EstimateCost().
  int64_t program_bytes = 0;
  int64_t weight_bytes = 0;
  int64_t returned_weight_bytes = 0;  // Not among weight_bytes: only while they are loaded.
  int64_t adapter_bytes = 0;
  int64_t activation_bytes = 0;
  int64_t record_bytes = 0;  // Of the client's records; not known to EstimateCost().
  int64_t memory_bytes() const {
    return program_bytes + weight_bytes + adapter_bytes + activation_bytes + record_bytes;
  }
};

// The type a client computes in, and what becomes of weights in bf16 then.
enum class ComputeType : uint8_t {
  kBf16,          // A GPU.
  kFp32,          // A CPU with AVX-512, on which large models' weights stay in bf16.
  kFp32Rounding,  // One with AVX-512 BF16, where MLPs of such weights keep values in bf16.
  kFp32Widened,   // A CPU without, on which they are widened.
};

// Of this machine's CPU.
ComputeType ComputeTypeOfCpu();

// A huge page: so much of a file may Linux map at once, for whoever reads any of it.
inline constexpr int64_t kEmbeddingPieceBytes = 1 << 21;

// What is known of the records of a training; where nothing is, the most is assumed.
struct KnownRecords {
  // The most of its tokens that go through the model together in any step, and the most of
  // them whose predictions are wanted (client/data/packed_rows.h).
  int64_t rows = std::numeric_limits<int64_t>::max();
  int64_t wanted_rows = std::numeric_limits<int64_t>::max();

  // Pieces of the stored embedding, of kEmbeddingPieceBytes each, on which their tokens' rows
  // lie.
  int64_t embedding_pieces = std::numeric_limits<int64_t>::max();
};

// As it is stored.
int64_t EmbeddingRowBytes(const BaseModelDescription& model);

// Memory at its peak. With b bytes a value (2 or 4), P adapter values of which
// R are trained in the larger of the rounds:
//
//   program_bytes     on a CPU 150 MB: the program and its libraries
//   weight_bytes      b * the model's parameters; on a CPU also the file's
//                     pages if it holds a narrower type. The file's pages alone
//                     beyond 2^30 parameters (and 2 bytes for each of those in
//                     FP8) and, with AVX-512, from 2^26 on if it
//                     holds two bytes a parameter and no fp16. Of an embedding
//                     that is no head, on a CPU, the file's pages go when all
//                     is loaded: the pieces come back on which tokens lie, if it
//                     was not widened. No more is taken off for that than comes
//                     after the loading
//   adapter_bytes     4 * (3 P + M R): the global adapter, the trained one,
//                     gradients, and M moments (AdamW 2, SGD 0)
//   activation_bytes  1.05 b * what is in memory at the worst moment of a step;
//                     1.05 is for the heap's gaps, on GPUs 1.3
//
// On a CPU with AVX-512 that moment is behind the forward pass, with the logits, or where
// the derivative of an attention, or of what is behind one, is being made, with what
// tokens left in that layer and those before, and the gradients in hand. In the last layer
// tokens whose logits nobody wants leave nothing behind the attention. An adapted layer
// leaves the product with A, and what it took, too. With AVX-512 BF16 and weights that stay
// in bf16 what products take, and what gates and up projections give, counts half.
//
// Elsewhere it is tokens * what a token leaves behind for the backward pass + what one
// layer's experts, or the logits, need for a moment, on GPUs twice as much, without AVX-512
// six times. Adapted routed experts on GPUs, and all without AVX-512, leave what they took
// and gave, too. Known answers change nothing there.
//
// Of the first `recomputed_layers`, or all if there are not as many, a token leaves only
// its input behind, of hidden_size values, but for the one layer whose derivative is
// being made. Such a training has the same result and takes longer.
//
// Tokens are batch_size * sequence_length, at most 8,192 at a time, or as many as `records`
// come to: those of a step are packed, and one that is shorter takes less. Attention scores are
// computed in tiles and not kept. On CPUs the sum is within 10 % of what bench/run.sh train
// measures; it prints both. On GPUs it is more than the tensors have (bench/train/gpu_memory_test);
// what else CUDA takes is a guess. `layout` is the adapter that the plan has for this model.
// Requires: a plan of ParsePlan(), as far as aggregation goes, and RoutingShapeOf() takes the
// model.
PlanCost EstimateCost(const Plan& plan, const BaseModelDescription& model,
                      const AdapterLayout& layout, ComputeType type, int64_t recomputed_layers = 0,
                      const KnownRecords& records = {});

}  // namespace fedtune
