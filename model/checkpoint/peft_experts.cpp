// SPDX-License-Identifier: Apache-2.0

#include "model/checkpoint/peft_experts.h"

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <utility>

#include "base/status_macros.h"
#include "fmt/format.h"
#include "model/checkpoint/expert_name.h"

namespace fedtune {
namespace {

constexpr std::array<std::string_view, 3> kProjections = {"gate_proj", "up_proj", "down_proj"};

// A module of a layout and where its values are.
struct Placed {
  AdapterModule module;
  std::span<const float> a;
  std::span<const float> b;
};

std::vector<Placed> PlacesOf(const AdapterLayout& layout, std::span<const float> values) {
  std::vector<Placed> places;
  for (const AdapterTensor& tensor : layout.tensors()) {
    const auto part =
        values.subspan(static_cast<size_t>(tensor.offset), static_cast<size_t>(tensor.size()));
    if (tensor.factor == Factor::kA) {
      places.push_back({layout.modules()[static_cast<size_t>(tensor.module_index)], part, {}});
    } else {
      places.back().b = part;
    }
  }
  return places;
}

// One layer's experts while they are stacked.
struct Stack {
  std::string experts;
  int64_t count = 0;
  std::map<std::pair<int64_t, std::string>, Placed> there;  // By expert and projection.
  // Of gate and up, and of down: what all of them get. No rank: not adapted.
  AdapterModule gate_up, down;

  AdapterModule& UsualOf(std::string_view projection) {
    return projection == "down_proj" ? down : gate_up;
  }

  void Add(const ExpertName& expert, const Placed& placed) {
    AdapterModule& usual = UsualOf(expert.projection);
    if (usual.lora_rank == 0) usual = placed.module;
    if (const int64_t rank = placed.module.lora_rank; rank > usual.lora_rank) {
      usual.alpha = usual.scale() * static_cast<double>(rank);
      usual.lora_rank = rank;
    }
    count = std::max(count, expert.index + 1);
    there.emplace(std::pair(expert.index, expert.projection), placed);
  }
};

// Down of rank 1 for all, which will be of zeros.
void AddMissingDown(Stack& stack) {
  if (stack.gate_up.lora_rank == 0 || stack.down.lora_rank > 0) return;
  stack.down.in_features = stack.gate_up.out_features;
  stack.down.out_features = stack.gate_up.in_features;
  stack.down.lora_rank = 1;
  stack.down.alpha = stack.gate_up.scale();
}

// What is stacked so far.
class StackedBuilder {
 public:
  void Add(const Placed& placed) {
    modules_.push_back(placed.module);
    values_.insert(values_.end(), placed.a.begin(), placed.a.end());
    values_.insert(values_.end(), placed.b.begin(), placed.b.end());
  }

  void Add(Stack& stack) {
    for (int64_t expert = 0; expert < stack.count; ++expert) {
      for (const std::string_view projection : kProjections) {
        AdapterModule module = stack.UsualOf(projection);
        if (module.lora_rank == 0) continue;
        module.name = fmt::format("{}.{}.{}", stack.experts, expert, projection);
        const auto found = stack.there.find({expert, std::string(projection)});
        AddFilled(module, found == stack.there.end() ? nullptr : &found->second);
      }
    }
  }

  absl::StatusOr<StackedAdapter> Finish() && {
    StackedAdapter stacked;
    ASSIGN_OR_RETURN(stacked.layout, AdapterLayout::Create(std::move(modules_)));
    stacked.values = std::move(values_);
    return stacked;
  }

 private:
  // `module` with the values of `placed`, and zeros where it has none.
  void AddFilled(const AdapterModule& module, const Placed* placed) {
    const auto rank = static_cast<size_t>(module.lora_rank);
    const auto in = static_cast<size_t>(module.in_features);
    const auto out = static_cast<size_t>(module.out_features);
    modules_.push_back(module);
    const size_t begin = values_.size();
    values_.resize(begin + rank * (in + out));
    if (placed == nullptr) return;
    std::copy(placed->a.begin(), placed->a.end(), values_.begin() + static_cast<ptrdiff_t>(begin));
    const auto own = static_cast<size_t>(placed->module.lora_rank);
    const double ratio = placed->module.scale() / module.scale();
    float* b = values_.data() + begin + rank * in;
    for (size_t i = 0; i < out * own; ++i) {
      const float value = placed->b[i];
      b[i / own * rank + i % own] = ratio == 1 ? value : static_cast<float>(ratio * value);
    }
  }

  std::vector<AdapterModule> modules_;
  std::vector<float> values_;
};

absl::StatusOr<std::map<std::string, Stack>> CollectStacks(const std::vector<Placed>& places,
                                                           const Stacking& stacking) {
  const int64_t expert_count = stacking.expert_count;
  std::map<std::string, Stack> stacks;
  for (const Placed& placed : places) {
    const auto expert = ExpertName::Parse(placed.module.name);
    if (!expert) continue;
    if (expert_count > 0 && expert->index >= expert_count) {
      return absl::InvalidArgumentError(fmt::format("{}: the base model has {} experts in a layer",
                                                    placed.module.name, expert_count));
    }
    Stack& stack = stacks[expert->experts];
    stack.experts = expert->experts;
    stack.count = std::max(stack.count, expert_count);
    stack.Add(*expert, placed);
  }
  if (stacking.stored_single) {
    for (auto& [experts, stack] : stacks) AddMissingDown(stack);
  }
  return stacks;
}

// A parameter while its experts are put into it.
struct FusedParameter {
  FactorMatrices matrices;
  int64_t experts = 0;

  // The factors of one expert's projection: its ranks from `first_rank` on, its
  // outputs from `first_row` on.
  void Put(const Placed& placed, int64_t expert, int64_t first_rank, int64_t first_row) {
    const AdapterModule& module = placed.module;
    const int64_t rank = module.lora_rank, in = module.in_features;
    std::copy(placed.a.begin(), placed.a.end(),
              matrices.a.begin() + (expert * matrices.rank + first_rank) * in);
    for (int64_t row = 0; row < module.out_features; ++row) {
      for (int64_t k = 0; k < rank; ++k) {
        const int64_t column = (first_rank + k) * experts + expert;
        matrices.b[static_cast<size_t>((first_row + row) * matrices.rank * experts + column)] =
            placed.b[static_cast<size_t>(row * rank + k)];
      }
    }
  }
};

// Room for `halves` projections like `module` in each expert.
FusedParameter EmptyParameter(const std::string& name, const AdapterModule& module, int64_t halves,
                              int64_t experts) {
  FusedParameter parameter{.matrices = {.name = name,
                                        .rank = halves * module.lora_rank,
                                        .in_features = module.in_features,
                                        .out_features = halves * module.out_features,
                                        .a = {},
                                        .b = {}},
                           .experts = experts};
  FactorMatrices& matrices = parameter.matrices;
  matrices.a.resize(static_cast<size_t>(experts * matrices.rank * matrices.in_features));
  matrices.b.resize(static_cast<size_t>(experts * matrices.rank * matrices.out_features));
  return parameter;
}

}  // namespace

absl::StatusOr<StackedAdapter> StackExperts(const AdapterLayout& layout,
                                            std::span<const float> values,
                                            const Stacking& stacking) {
  const std::vector<Placed> places = PlacesOf(layout, values);
  ASSIGN_OR_RETURN(auto stacks, CollectStacks(places, stacking));
  StackedBuilder builder;
  for (const Placed& placed : places) {
    const auto expert = ExpertName::Parse(placed.module.name);
    if (!expert) {
      builder.Add(placed);
    } else if (const auto stack = stacks.find(expert->experts); stack != stacks.end()) {
      builder.Add(stack->second);  // All of the layer, where its first one stood.
      stacks.erase(stack);
    }
  }
  return std::move(builder).Finish();
}

std::vector<FactorMatrices> FuseExperts(const AdapterLayout& layout,
                                        std::span<const float> values) {
  const std::vector<Placed> places = PlacesOf(layout, values);
  std::map<std::string, int64_t> counts;
  for (const Placed& placed : places) {
    const auto expert = ExpertName::Parse(placed.module.name);
    if (expert) counts[expert->experts] = std::max(counts[expert->experts], expert->index + 1);
  }
  std::vector<FusedParameter> parameters;
  std::map<std::string, size_t> index;
  for (const Placed& placed : places) {
    const auto expert = ExpertName::Parse(placed.module.name);
    if (!expert) continue;
    const std::string name = expert->FusedParameter();
    if (const auto [found, is_new] = index.try_emplace(name, parameters.size()); is_new) {
      parameters.push_back(EmptyParameter(name, placed.module, expert->IsGateOrUp() ? 2 : 1,
                                          counts[expert->experts]));
    }
    const bool is_up = expert->projection == "up_proj";
    parameters[index[name]].Put(placed, expert->index, is_up ? placed.module.lora_rank : 0,
                                is_up ? placed.module.out_features : 0);
  }
  std::vector<FactorMatrices> fused;
  fused.reserve(parameters.size());
  for (FusedParameter& parameter : parameters) fused.push_back(std::move(parameter.matrices));
  return fused;
}

namespace {

// A block of one expert's factors: ranks and outputs, each from a first one on.
struct Block {
  int64_t first_rank = 0;
  int64_t ranks = 0;
  int64_t first_row = 0;
  int64_t rows = 0;
};

// One fused parameter, looked at by expert.
class FusedView {
 public:
  FusedView(const FactorMatrices& parameter, int64_t experts)
      : parameter_(parameter), experts_(experts) {}

  float B(int64_t expert, int64_t row, int64_t k) const {
    return parameter_
        .b[static_cast<size_t>(row * parameter_.rank * experts_ + k * experts_ + expert)];
  }

  bool IsZero(const Block& block) const {
    for (int64_t expert = 0; expert < experts_; ++expert) {
      if (!IsZero(expert, block)) return false;
    }
    return true;
  }

  FactorMatrices Take(int64_t expert, const Block& block) const {
    FactorMatrices taken{.name = {},
                         .rank = block.ranks,
                         .in_features = parameter_.in_features,
                         .out_features = block.rows,
                         .a = {},
                         .b = {}};
    const auto first = parameter_.a.begin() +
                       (expert * parameter_.rank + block.first_rank) * parameter_.in_features;
    taken.a.assign(first, first + block.ranks * parameter_.in_features);
    for (int64_t row = block.first_row; row < block.first_row + block.rows; ++row) {
      for (int64_t k = block.first_rank; k < block.first_rank + block.ranks; ++k) {
        taken.b.push_back(B(expert, row, k));
      }
    }
    return taken;
  }

 private:
  bool IsZero(int64_t expert, const Block& block) const {
    for (int64_t row = block.first_row; row < block.first_row + block.rows; ++row) {
      for (int64_t k = block.first_rank; k < block.first_rank + block.ranks; ++k) {
        if (B(expert, row, k) != 0) return false;
      }
    }
    return true;
  }

  const FactorMatrices& parameter_;
  int64_t experts_;
};

// Where gate and up are in each expert's factors.
std::array<Block, 2> GateAndUp(const FactorMatrices& parameter, const FusedView& view) {
  const int64_t rank = parameter.rank, half = rank / 2, rows = parameter.out_features / 2;
  if (rank % 2 == 0 && view.IsZero({half, half, 0, rows}) && view.IsZero({0, half, rows, rows})) {
    return {{{0, half, 0, rows}, {half, half, rows, rows}}};
  }
  return {{{0, rank, 0, rows}, {0, rank, rows, rows}}};
}

}  // namespace

absl::StatusOr<ExpertModules> SplitExperts(const FactorMatrices& parameter, double scale) {
  const auto a_rows = static_cast<int64_t>(parameter.a.size()) / parameter.in_features;
  const bool is_down = parameter.name.ends_with("down_proj");
  const int64_t experts = a_rows / parameter.rank;
  if (experts < 1 || experts * parameter.rank != a_rows ||
      (!is_down && parameter.out_features % 2 != 0)) {
    return absl::InvalidArgumentError(
        fmt::format("{}: {} rows of A and {} of B are not those of experts of rank {}",
                    parameter.name, a_rows, parameter.out_features, parameter.rank));
  }
  const std::string prefix = parameter.name.substr(0, parameter.name.rfind('.'));
  const FusedView view(parameter, experts);
  std::vector<std::pair<std::string_view, Block>> parts;
  if (is_down) {
    parts.emplace_back("down_proj", Block{0, parameter.rank, 0, parameter.out_features});
  } else {
    const std::array<Block, 2> blocks = GateAndUp(parameter, view);
    parts = {{"gate_proj", blocks[0]}, {"up_proj", blocks[1]}};
  }
  ExpertModules split;
  for (int64_t expert = 0; expert < experts; ++expert) {
    for (const auto& [projection, block] : parts) {
      FactorMatrices factors = view.Take(expert, block);
      factors.name = fmt::format("{}.{}.{}", prefix, expert, projection);
      split.modules.push_back({.name = factors.name,
                               .in_features = factors.in_features,
                               .out_features = factors.out_features,
                               .lora_rank = factors.rank,
                               .alpha = scale * static_cast<double>(factors.rank)});
      split.factors.push_back(std::move(factors));
    }
  }
  return split;
}

}  // namespace fedtune
