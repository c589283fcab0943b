// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "cli/client_log.h"
#include "cli/log_verification.h"
#include "cli/recorded_run.h"
#include "nlohmann/json.hpp"

namespace fedtune {

// What `fedtune model verify` compares, all of it files of this machine.
struct VerificationFiles {
  std::filesystem::path folder;             // An adapter as peft reads it, or a merged checkpoint.
  std::filesystem::path record;             // Of the run.
  std::vector<std::filesystem::path> logs;  // Of institutions' clients.
  std::filesystem::path audit_log;          // The coordinator's, as it was pulled; empty: none.
  std::string authority_pem;                // Whose coordinator has signed that.
  std::filesystem::path adapter;            // Of a merged checkpoint, what it was made of.
  std::filesystem::path base;
};

struct ComparedLog {
  std::filesystem::path file;
  int64_t rounds = 0;
};

// What has been found to be so.
struct Verification {
  RecordedRun run;
  bool is_merged = false;
  int64_t round = 0;    // The adapter is the one that the run had after it,
  int64_t made_by = 0;  // and was made by this one: an earlier one if `round` burnt.
  Digest adapter;
  std::vector<ComparedLog> logs;
  std::optional<LogVerification> audit_log;
};

// Whether the folder holds what the run released in `round` (absent: its last), and whether
// record and logs agree with themselves and each other; the coordinator's own as VerifyLog()
// says. Needs no coordinator. What it shows rests on the record, which nobody has signed, and on
// the logs.
//
// An error with the exit code 3: it is something else, or what is compared contradicts
// itself; the message says what. Exit code 2: a file is not there, or no such round. Exit
// code 1: a file is damaged, or the values cannot be told from what the folder holds.
absl::StatusOr<Verification> Verify(const VerificationFiles& files, std::optional<int64_t> round);

// For people, and for `--json`.
std::string VerificationText(const Verification& verification, const std::string& folder);
nlohmann::ordered_json VerificationToJson(const Verification& verification,
                                          const std::string& folder);

}  // namespace fedtune
