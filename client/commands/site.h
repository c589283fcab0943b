// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <filesystem>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/config.h"
#include "client/data/dataset.h"
#include "client/policy/policy.h"
#include "client/round/local_names.h"
#include "client/round/messages.h"
#include "client/round/seen_log.h"
#include "privacy/crypto/secret_bytes.h"
#include "privacy/identity/key_directory.h"

namespace fedtune {

// What a client needs besides its configuration, each read from the files that
// the configuration names.

// The policy of the file, or the one that allows everything when none is named.
// INVALID_ARGUMENT, NOT_FOUND: as ParsePolicy() and ReadFile().
absl::StatusOr<Policy> LoadPolicy(const ClientConfig& config);

// Our certificate, which must name the institution of the configuration.
// FAILED_PRECONDITION: it names another one. Otherwise as LoadCredentials().
absl::StatusOr<Credentials> LoadClientCredentials(const ClientConfig& config, absl::Time now);

// What we sign with in secure rounds. Errors as above, of LoadSigningCredentials().
absl::StatusOr<SigningCredentials> LoadClientSigner(const ClientConfig& config, absl::Time now);

// Where the client keeps the newest roster of signing keys that it has seen.
std::filesystem::path SeenRosterFile(const ClientConfig& config);

// What it has seen of the coordinator's log, beside that.
SeenLog SeenLogOf(const ClientConfig& config);

// Where it keeps what it must remember of secure aggregations.
std::filesystem::path SessionJournalFile(const ClientConfig& config);

// Where it keeps its rounds' work, and the key that seals it there, which only who has
// the key of its certificate can tell: with another one the work is done anew.
std::filesystem::path RoundFolder(const ClientConfig& config);
SecretBytes RoundKey(const Credentials& credentials);

// The training records of each data set that can be read; whether a base model can use
// them is seen later. Its validation records are read, too.
// INVALID_ARGUMENT: no data set is configured, or a file has no record. Otherwise
// as ReadDataset().
absl::StatusOr<std::vector<DatasetSize>> CountRecords(const ClientConfig& config,
                                                      const ObserverOfFile& observer_of);

// What our files and folders are called in what the coordinator is told.
LocalNames LocalNamesOf(const ClientConfig& config);

// What institutions share and the coordinator has not; null where none is
// configured. INVALID_ARGUMENT: the file has none. Otherwise as ReadPrivateFile().
absl::StatusOr<std::shared_ptr<const SecretBytes>> LoadFederationKey(const ClientConfig& config);

// What the coordinator is told of them: no number, unless the policy says so.
void HideSizes(const Policy& policy, std::vector<DatasetSize>& datasets);

}  // namespace fedtune
