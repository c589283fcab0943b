// SPDX-License-Identifier: Apache-2.0

#include "cli/verify_command.h"

#include <memory>
#include <optional>

#include "base/json.h"
#include "base/status_macros.h"
#include "cli/verification.h"
#include "fmt/format.h"

namespace fedtune {
namespace {

struct VerifyArguments {
  VerificationFiles files;
  std::optional<int64_t> round;
};

absl::Status VerifyModel(const Session& session, const VerifyArguments& arguments) {
  VerificationFiles files = arguments.files;
  if (!files.audit_log.empty()) {
    ASSIGN_OR_RETURN(files.authority_pem, session.ReadAuthority());
  }
  ASSIGN_OR_RETURN(const Verification verification, Verify(files, arguments.round));
  const std::string folder = files.folder.string();
  session.json ? fmt::print("{}", JsonLine(VerificationToJson(verification, folder)))
               : fmt::print("{}", VerificationText(verification, folder));
  return absl::OkStatus();
}

}  // namespace

void AddVerifyCommand(CommandLine& line, CLI::App& model_group, Session& session) {
  const auto arguments = std::make_shared<VerifyArguments>();
  CLI::App& verify = line.AddTo(
      model_group,
      {"verify",
       "Says without a coordinator whether a pulled adapter or model is what a run released; exit "
       "code 3: it is not.",
       {"fedtune run show run-7f3a --json > run-7f3a.json",
        "fedtune model verify ./run-7f3a-peft --record run-7f3a.json",
        "fedtune model verify ./peft --record run-7f3a.json --round 5 --client-log st-anna.log",
        "fedtune model verify ./peft --record run-7f3a.json --log north.log --authority ca.crt",
        "fedtune model verify ./model --record run-7f3a.json --adapter ./peft --base "
        "/models/lite"}},
      [&session, arguments] { return VerifyModel(session, *arguments); });
  VerificationFiles& files = arguments->files;
  verify.add_option("FOLDER", files.folder, "What \"fedtune model pull\" has written")->required();
  verify
      .add_option("--record", files.record,
                  "The run's record: what \"fedtune run show RUN --json\" has printed")
      ->required();
  verify.add_option("--round", arguments->round,
                    "The round that is to have released it (the record's last)");
  verify
      .add_option("--client-log", files.logs,
                  "The log of an institution's client, to compare the record with; may be repeated")
      ->allow_extra_args(false);
  verify.add_option("--log", files.audit_log,
                    "The coordinator's audit log, to compare the record with: what \"fedtune log "
                    "pull\" has written");
  verify.add_option("--adapter", files.adapter,
                    "Of a merged model: the folder of the adapter that is in it");
  verify.add_option("--base", files.base, "Of a merged model: its base model's folder");
  AddJsonFlag(verify, session);
}

}  // namespace fedtune
