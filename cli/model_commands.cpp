// SPDX-License-Identifier: Apache-2.0

#include "cli/model_commands.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "base/clock.h"
#include "base/files.h"
#include "base/json.h"
#include "base/printable_text.h"
#include "base/progress.h"
#include "base/status.h"
#include "base/status_macros.h"
#include "base/units.h"
#include "cli/base_model_source.h"
#include "cli/interrupt.h"
#include "cli/newest_release.h"
#include "cli/run_json.h"
#include "cli/run_text.h"
#include "cli/verify_command.h"
#include "fmt/format.h"
#include "model/checkpoint/merge.h"
#include "model/checkpoint/peft_adapter.h"
#include "model/checkpoint/staged_folder.h"
#include "plan/plan.h"

namespace fedtune {
namespace {

struct PullArguments {
  std::string run;
  std::string format = "peft";
  bool fused_experts = false;
  std::filesystem::path out;
  std::filesystem::path base;
};

// The folder of the run's base model on this machine.
absl::StatusOr<std::filesystem::path> BaseFolder(const Release& release,
                                                 const PullArguments& arguments,
                                                 const Configuration& configuration) {
  Plan wanted = release.plan;
  wanted.base_digest = release.run.base_digest();
  const bool is_given = !arguments.base.empty();
  if (is_given) wanted.base_model = std::filesystem::absolute(arguments.base);
  const auto base = FindBaseModel(wanted, "", configuration, nullptr);
  if (absl::IsNotFound(base.status())) {
    return absl::InvalidArgumentError(
        is_given ? fmt::format("--base {}: there is no base model, as there is no config.json",
                               arguments.base.string())
                 : fmt::format("base model \"{}\" is in none of the folders of models; name its "
                               "own folder with --base, or that folder's parent with --models",
                               wanted.base_model));
  }
  RETURN_IF_ERROR(base.status());
  return *base->directory;
}

// `merged`, with what is to be done about what it has left.
absl::Status WithWhatIsLeft(const absl::Status& merged, const std::filesystem::path& out) {
  const std::filesystem::path partial = PartialFolder(out);
  std::error_code is_not_there;
  if (!std::filesystem::exists(partial, is_not_there)) return merged;
  const std::string what_to_do = fmt::format(
      "what is complete is in {}; run the command again to go on, or remove that folder",
      partial.string());
  if (absl::IsCancelled(merged)) {
    return absl::CancelledError(fmt::format("interrupted: {}", what_to_do));
  }
  if (!absl::IsResourceExhausted(merged)) return merged;
  return absl::ResourceExhaustedError(fmt::format("{}; {}", Message(merged), what_to_do));
}

absl::Status WriteMerged(const CoordinatorConnection& connection, Release& release,
                         const std::filesystem::path& base, const std::filesystem::path& out) {
  ASSIGN_OR_RETURN(const std::vector<float> values, FetchValues(connection, release));
  const SystemClock clock;
  const std::string task =
      fmt::format("merging {} adapter parameters into {}",
                  HumanCount(static_cast<uint64_t>(release.layout.parameter_count())),
                  release.run.base_model());
  ProgressLine progress(task, clock);
  const Interrupt interrupt;
  return WithWhatIsLeft(
      MergeAdapter(
          base, release.layout, values, out,
          [&progress](double fraction) { progress.Update(fraction); }, interrupt.token()),
      out);
}

bool HasLayersOf(const AdapterLayout& layout, const BaseModelDescription& model) {
  std::map<std::string_view, const LinearLayer*> layers;
  for (const LinearLayer& layer : model.linear_layers) layers[layer.name] = &layer;
  return std::ranges::all_of(layout.modules(), [&](const AdapterModule& module) {
    const auto found = layers.find(module.name);
    return found != layers.end() && found->second->in_features == module.in_features &&
           found->second->out_features == module.out_features;
  });
}

// How many routed experts a layer of the run's base model has. The catalogue may have the
// model by a newer digest than that of the run.
absl::StatusOr<int64_t> ExpertCount(const CoordinatorConnection& connection,
                                    const Release& release) {
  const v1::RunStatus& run = release.run;
  ASSIGN_OR_RETURN(const v1::ListModelsResponse models, connection.ListModels());
  for (const v1::ModelEntry& model : models.models()) {
    const bool is_it = model.digest() == run.base_digest();
    if (!is_it && model.name() != run.base_model()) continue;
    ASSIGN_OR_RETURN(const BaseModelDescription description,
                     BaseModelDescriptionFromJson(model.base_model_json()));
    if (is_it || HasLayersOf(release.layout, description)) return description.routed_expert_count;
  }
  return absl::NotFoundError(
      fmt::format("the catalogue does not have {}, the base model of {}, any more",
                  run.base_model(), run.run_id()));
}

absl::Status WriteAdapter(const CoordinatorConnection& connection, Release& release,
                          const PullArguments& arguments, const std::filesystem::path& out) {
  ASSIGN_OR_RETURN(const int64_t expert_count, ExpertCount(connection, release));
  ASSIGN_OR_RETURN(const std::vector<float> values, FetchValues(connection, release));
  const Interrupt interrupt;
  const absl::Status written = WritePeftAdapter(
      out, release.layout, values, release.run.base_model(),
      {.experts = arguments.fused_experts ? PeftExperts::kFused : PeftExperts::kSingle,
       .rslora = release.plan.adapter.rslora,
       .expert_count = expert_count},
      interrupt.token());
  if (!absl::IsCancelled(written)) return written;
  return absl::CancelledError(
      fmt::format("interrupted: nothing of {} is left; run the command again", out.string()));
}

absl::Status Pull(const Session& session, const PullArguments& arguments) {
  ASSIGN_OR_RETURN(const Configuration configuration, session.Configure());
  ASSIGN_OR_RETURN(const CoordinatorConnection connection,
                   CoordinatorConnection::Open(configuration));
  ASSIGN_OR_RETURN(Release release, FindNewestRelease(connection, arguments.run));
  const std::filesystem::path out =
      arguments.out.empty()
          ? std::filesystem::path(fmt::format("{}-{}", release.run.run_id(), arguments.format))
          : arguments.out;
  RETURN_IF_ERROR(CheckNothingAt(out));  // Before much is fetched.
  if (arguments.format == "peft") {
    RETURN_IF_ERROR(WriteAdapter(connection, release, arguments, out));
  } else {
    ASSIGN_OR_RETURN(const std::filesystem::path base,
                     BaseFolder(release, arguments, configuration));
    RETURN_IF_ERROR(WriteMerged(connection, release, base, out));
  }
  fmt::print("{}\n", out.string());
  fmt::print(stderr, "complete: the adapter after {} rounds, {}\n{} is ready:  {}\n",
             release.run.rounds_done(), release.digest.ToString(), out.string(),
             arguments.format == "peft"
                 ? fmt::format("PeftModel.from_pretrained(base, \"{}\")", out.string())
                 : fmt::format("AutoModelForCausalLM.from_pretrained(\"{}\")", out.string()));
  return absl::OkStatus();
}

absl::Status ListModels(const Session& session) {
  ASSIGN_OR_RETURN(const CoordinatorConnection connection, session.Connect());
  ASSIGN_OR_RETURN(const v1::ListModelsResponse models, connection.ListModels());
  if (!session.json) {
    fmt::print("{}", ModelTable(models));
    return absl::OkStatus();
  }
  for (const v1::ModelEntry& model : models.models()) {
    fmt::print("{}", JsonLine(ModelToJson(model)));
  }
  return absl::OkStatus();
}

absl::Status ShowModel(const Session& session, const std::string& name) {
  ASSIGN_OR_RETURN(const CoordinatorConnection connection, session.Connect());
  ASSIGN_OR_RETURN(const v1::ListModelsResponse models, connection.ListModels());
  for (const v1::ModelEntry& model : models.models()) {
    if (model.name() != name && model.digest() != name) continue;
    ASSIGN_OR_RETURN(const BaseModelDescription description,
                     BaseModelDescriptionFromJson(model.base_model_json()));
    session.json ? fmt::print("{}\n", ToJson(description))
                 : fmt::print(
                       "{}  {}\n\n  type        {}\n  parameters  {}\n  layers      {}\n"
                       "  context     {} tokens\n  experts     {}, {} for each token\n",
                       model.name(), model.digest(), PrintableText(description.model_type),
                       HumanCount(static_cast<uint64_t>(description.parameter_count)),
                       description.layer_count, description.context_length,
                       description.routed_expert_count, description.experts_per_token);
    return absl::OkStatus();
  }
  return absl::NotFoundError(
      fmt::format("no base model \"{}\" in the catalogue; see: fedtune model list", name));
}

}  // namespace

void AddModelCommands(CommandLine& line, Session& session) {
  CLI::App& group = line.AddGroup({"model",
                                   "Base models of the catalogue, and what runs have released.",
                                   {"fedtune model list", "fedtune model pull run-7f3a",
                                    "fedtune model verify ./run-7f3a-peft --record run.json"}});
  AddJsonFlag(
      line.AddTo(group, {"list", "Lists the base models of the catalogue.", {"fedtune model list"}},
                 [&session] { return ListModels(session); }),
      session);
  const auto name = std::make_shared<std::string>();
  CLI::App& show = line.AddTo(
      group,
      {"show", "Shows the shape of one base model.", {"fedtune model show deepseek-v2-lite"}},
      [&session, name] { return ShowModel(session, *name); });
  show.add_option("MODEL", *name, "Its name or digest")->required();
  AddJsonFlag(show, session);
  AddVerifyCommand(line, group, session);
  const auto arguments = std::make_shared<PullArguments>();
  CLI::App& pull =
      line.AddTo(group,
                 {"pull",
                  "Writes a run's newest release as a PEFT adapter or a merged checkpoint.",
                  {"fedtune model pull run-7f3a",
                   "fedtune model pull run-7f3a --format hf --base /models/lite --out ./model"}},
                 [&session, arguments] { return Pull(session, *arguments); });
  pull.add_option("RUN", arguments->run, "The run's id, or the beginning of it")->required();
  pull.add_option("--format", arguments->format, "peft, or hf for a merged checkpoint")
      ->check(CLI::IsMember({"peft", "hf"}))
      ->capture_default_str();
  pull.add_flag("--fused-experts", arguments->fused_experts,
                "For peft: factors of routed experts as peft trains them, and not one by one");
  pull.add_option("--out", arguments->out, "The folder to write (default: RUN-FORMAT)");
  pull.add_option("--base", arguments->base, "The base model's folder, for hf");
}

}  // namespace fedtune
