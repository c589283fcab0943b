// SPDX-License-Identifier: Apache-2.0

#include <algorithm>
#include <cmath>

#include "fmt/format.h"
#include "model/checkpoint/architectures.h"

namespace fedtune {
namespace {

using nlohmann::json;

constexpr Range kContext = {1, 1 << 30};
constexpr Range kFactor = {1, 1e6};
constexpr Range kPositive = {1e-3, 1e6};
constexpr std::string_view kOriginalContext = "original_max_position_embeddings";

double MagnitudeOf(double factor, double mscale) {
  return factor <= 1 ? 1.0 : 0.1 * mscale * std::log(factor) + 1.0;
}

void Optional(ConfigReader& reader, std::string_view key, std::optional<double>& field) {
  double value = 0;
  if (reader.Find(key) == nullptr) return;
  reader.Optional(key, value, {0, 1e6});
  field = value;
}

void RequireWholeHeadsTurn(ConfigReader& reader) {
  double part = 1;
  reader.Optional("partial_rotary_factor", part, {0, 1});
  reader.Require(part == 1, "partial_rotary_factor",
                 fmt::format("is {}; only 1 is supported", part));
}

// Reads what `rope_scaling` and `rope_parameters` have in common.
class ScalingReader {
 public:
  // `model` reads what is beside the scaling.
  ScalingReader(ConfigReader& scaling, ConfigReader& model, ModelConfig& config)
      : reader_(scaling), model_(model), config_(config) {}

  void Read() {
    RequireWholeHeadsTurn(reader_);
    std::string type = "default";
    reader_.Optional("type", type);
    reader_.Optional("rope_type", type);
    if (type == "default") return;
    if (type == "linear") {
      reader_.Required("factor", rope().linear_factor, kFactor);
    } else if (type == "dynamic") {
      ReadDynamic();
    } else if (type == "yarn") {
      ReadYarn();
    } else if (type == "llama3") {
      ReadLlama3();
    } else if (type == "longrope") {
      ReadLongRope();
    } else {
      return reader_.Reject("rope_type",
                            fmt::format("is \"{}\"; \"default\", \"linear\", \"dynamic\", "
                                        "\"yarn\", \"llama3\" and \"longrope\" are supported",
                                        type));
    }
    ReadSoftmaxFactor();
  }

 private:
  RopeConfig& rope() { return config_.rope; }

  // Beside the scaling it comes before what is in it, and without either it is the model's.
  int64_t OriginalContext(int64_t least = 1) {
    int64_t original = config_.context_length;
    reader_.Defaulted(kOriginalContext, original, kContext);
    model_.Optional(kOriginalContext, original, kContext);
    reader_.Require(original >= least, kOriginalContext, fmt::format("is below {}", least));
    return original;
  }

  // How much longer the model's context is.
  double RatioTo(int64_t original_context) const {
    return static_cast<double>(config_.context_length) / static_cast<double>(original_context);
  }

  // Up to the model's context nothing is stretched, and beyond it what transformers
  // computes depends on what it was asked before.
  void ReadDynamic() {
    double factor = 1;
    reader_.Required("factor", factor, kFactor);
  }

  void ReadYarn() {
    YarnScaling yarn;
    yarn.original_context_length = OriginalContext();
    if (reader_.IsNull("factor")) {
      yarn.factor = RatioTo(yarn.original_context_length);
      reader_.Require(
          yarn.factor >= 1, "factor",
          fmt::format("is null, and {} is above max_position_embeddings", kOriginalContext));
    } else {
      reader_.Required("factor", yarn.factor, kFactor);
    }
    reader_.Optional("beta_fast", yarn.beta_fast, kPositive);
    reader_.Optional("beta_slow", yarn.beta_slow, kPositive);
    reader_.Require(yarn.beta_fast > yarn.beta_slow, "beta_fast", "is not above beta_slow");
    Optional(reader_, "mscale", yarn.mscale);
    Optional(reader_, "mscale_all_dim", yarn.mscale_all_dim);
    Optional(reader_, "attention_factor", yarn.attention_factor);
    reader_.Optional("truncate", yarn.truncate);
    factor_ = yarn.factor;
    rope().yarn = yarn;
  }

  void ReadLlama3() {
    Llama3Scaling llama3;
    llama3.original_context_length = OriginalContext();
    reader_.Required("factor", llama3.factor, kFactor);
    reader_.Required("low_freq_factor", llama3.low_frequency_factor, kPositive);
    reader_.Required("high_freq_factor", llama3.high_frequency_factor, kPositive);
    reader_.Require(llama3.high_frequency_factor > llama3.low_frequency_factor, "high_freq_factor",
                    "is not above low_freq_factor");
    rope().llama3 = llama3;
  }

  void ReadLongRope() {
    const int64_t original = OriginalContext(/*least=*/2);
    LongRopeScaling longrope;
    longrope.short_factors = Factors("short_factor");
    Factors("long_factor");
    double factor = RatioTo(original);
    reader_.Optional("factor", factor, kFactor);
    if (factor > 1) {
      longrope.magnitude =
          std::sqrt(1 + std::log(factor) / std::log(static_cast<double>(original)));
    }
    reader_.Optional("attention_factor", longrope.magnitude, {0, 1e6});
    rope().longrope = std::move(longrope);
    config_.context_length = std::min(config_.context_length, original);
  }

  // One of each pair.
  std::vector<double> Factors(std::string_view key) {
    const json* list = reader_.Find(key);
    const int64_t pairs = config_.rotary_dim() / 2;
    const auto is_factor = [](const json& value) {
      return value.is_number() && value.get<double>() >= kPositive.least &&
             value.get<double>() <= kPositive.most;
    };
    if (list == nullptr || !list->is_array() || std::ssize(*list) != pairs ||
        !std::all_of(list->begin(), list->end(), is_factor)) {
      reader_.Reject(key, fmt::format("is not a list of {} numbers from {} to {}", pairs,
                                      kPositive.least, kPositive.most));
      return {};
    }
    return list->get<std::vector<double>>();
  }

  // As in DeepSeek's attention, whatever the type.
  void ReadSoftmaxFactor() {
    double mscale = 0, factor = factor_;
    reader_.Optional("mscale_all_dim", mscale, {0, 1e6});
    reader_.Optional("factor", factor, kFactor);
    rope().softmax_factor = std::pow(MagnitudeOf(factor, mscale), 2);
  }

  ConfigReader& reader_;
  ConfigReader& model_;
  ModelConfig& config_;
  double factor_ = 1;
};

}  // namespace

double YarnScaling::RotaryFactor() const {
  if (attention_factor) return *attention_factor;
  if (mscale.value_or(0) == 0 || mscale_all_dim.value_or(0) == 0) return MagnitudeOf(factor, 1);
  return MagnitudeOf(factor, *mscale) / MagnitudeOf(factor, *mscale_all_dim);
}

double RopeConfig::Magnitude() const {
  if (longrope) return longrope->magnitude;
  return yarn ? yarn->RotaryFactor() : 1;
}

void ReadRopeConfig(ConfigReader& reader, RotaryPairs pairs, ModelConfig& config) {
  constexpr Range kTheta = {1, 1e12};
  config.rope = {};
  config.rope.pairs = pairs;
  reader.Optional("rope_theta", config.rope.theta, kTheta);
  RequireWholeHeadsTurn(reader);
  // Where both are, transformers goes by the older one alone.
  for (const char* key : {"rope_scaling", "rope_parameters"}) {
    const json* object = reader.FindObject(key);
    if (object == nullptr || object->empty()) continue;
    ConfigReader inner(*object, fmt::format("in {}", key));
    inner.Optional("rope_theta", config.rope.theta, kTheta);
    ScalingReader(inner, reader, config).Read();
    reader.Take(inner);
    break;
  }
}

}  // namespace fedtune
