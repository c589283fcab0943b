// SPDX-License-Identifier: Apache-2.0

#include "coordinator/rounds/journal_bytes.h"

#include <vector>

#include "aggregation/round_counters.h"

namespace fedtune {
namespace {

constexpr uint32_t kMaxBlocks = uint32_t{1} << 24;

void Put(CanonicalWriter& out, const std::optional<EvaluationResult>& result) {
  out.U8(result.has_value() ? 1 : 0);
  if (!result.has_value()) return;
  Put(out, result->loss);
  out.U8(result->accuracy.has_value() ? 1 : 0);
  Put(out, result->accuracy.value_or(0));
  Put(out, result->example_count);
}

std::optional<EvaluationResult> GetEvaluation(CanonicalReader& in) {
  if (in.U8() == 0) return std::nullopt;
  EvaluationResult result;
  result.loss = GetDouble(in);
  const bool has_accuracy = in.U8() != 0;
  const double accuracy = GetDouble(in);
  if (has_accuracy) result.accuracy = accuracy;
  result.example_count = GetInt(in);
  return result;
}

void Put(CanonicalWriter& out, const std::vector<int64_t>& numbers) {
  out.U32(static_cast<uint32_t>(numbers.size()));
  for (const int64_t number : numbers) Put(out, number);
}

std::vector<int64_t> GetInts(CanonicalReader& in, int64_t most) {
  std::vector<int64_t> numbers(in.Count(static_cast<uint32_t>(most), sizeof(int64_t)));
  for (int64_t& number : numbers) number = GetInt(in);
  return numbers;
}

void Put(CanonicalWriter& out, const ClientMetrics& metrics) {
  Put(out, metrics.training_loss);
  Put(out, metrics.steps);
  Put(out, metrics.token_count);
  Put(out, metrics.routed_tokens);
  Put(out, metrics.training_seconds);
  Put(out, metrics.before);
  Put(out, metrics.after);
}

ClientMetrics GetMetrics(CanonicalReader& in) {
  ClientMetrics metrics;
  metrics.training_loss = GetDouble(in);
  metrics.steps = GetInt(in);
  metrics.token_count = GetInt(in);
  metrics.routed_tokens = GetInts(in, kMostRoutedExperts);
  metrics.training_seconds = GetDouble(in);
  metrics.before = GetEvaluation(in);
  metrics.after = GetEvaluation(in);
  return metrics;
}

}  // namespace

void Put(CanonicalWriter& out, const ContributionHeader& header) {
  Put(out, header.round);
  Put(out, header.attempt);
  out.Fixed(header.adapter).Fixed(header.layout).U32(header.factors).U64(header.size_bytes);
  out.Fixed(header.sha256);
  Put(out, header.metrics);
  out.Sized(header.input_manifest);
}

ContributionHeader GetHeader(CanonicalReader& in) {
  ContributionHeader header;
  header.round = GetInt(in);
  header.attempt = GetInt(in);
  header.adapter = in.ReadDigest();
  header.layout = in.ReadDigest();
  header.factors = in.U32();
  header.size_bytes = in.U64();
  header.sha256 = in.ReadDigest();
  header.metrics = GetMetrics(in);
  header.input_manifest = in.Sized(kMaxMessage);
  return header;
}

void Put(CanonicalWriter& out, const std::optional<SpooledContent>& content) {
  out.U8(content.has_value() ? 1 : 0);
  if (!content.has_value()) return;
  Put(out, content->range.count());
  out.U32(std::bit_cast<uint32_t>(content->range.extreme()));
  Put(out, content->range.extreme_index());
  out.U32(static_cast<uint32_t>(content->sums.size()));
  for (const uint64_t sum : content->sums) out.U64(sum);
}

std::optional<SpooledContent> GetContent(CanonicalReader& in) {
  if (in.U8() == 0) return std::nullopt;
  const int64_t count = GetInt(in);
  const auto extreme = std::bit_cast<float>(in.U32());
  const int64_t extreme_index = GetInt(in);
  SpooledContent content{.range = {count, extreme, extreme_index}, .sums = {}};
  content.sums.resize(in.Count(kMaxBlocks, sizeof(uint64_t)));
  for (uint64_t& sum : content.sums) sum = in.U64();
  return content;
}

std::string GetText(CanonicalReader& in) {
  const Bytes text = in.Sized(kMaxText);
  return {text.begin(), text.end()};
}

void Put(CanonicalWriter& out, const Blame& blame) {
  Put(out, blame.times);
  Put(out, blame.back_in_round);
  out.Sized(blame.why.substr(0, kMaxText));
}

Blame GetBlame(CanonicalReader& in) {
  Blame blame;
  blame.times = GetInt(in);
  blame.back_in_round = GetInt(in);
  blame.why = GetText(in);
  return blame;
}

void Put(CanonicalWriter& out, const OpenWork& work) {
  Put(out, work.round);
  Put(out, work.attempt);
  out.Fixed(work.adapter);
  out.U8(work.evaluate ? 1 : 0);
}

OpenWork GetWork(CanonicalReader& in) {
  OpenWork work;
  work.round = GetInt(in);
  work.attempt = GetInt(in);
  work.adapter = in.ReadDigest();
  work.evaluate = in.U8() != 0;
  return work;
}

}  // namespace fedtune
