// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "base/logging.h"
#include "privacy/identity/key_directory.h"
#include "privacy/identity/revocation_watch.h"
#include "privacy/identity/signing_roster.h"

namespace fedtune {

// A coordinator that answers its clients and administrators over mutual TLS.
// Everything it decides lies below; here it is put together. Thread-safe.
class Server {
 public:
  struct Options {
    std::string listen;  // "0.0.0.0:7443"; port 0 takes a free one.
    CredentialFiles credentials;
    std::filesystem::path state_directory;
    int64_t keep_adapters = 3;              // The newest of a run that are kept.
    int64_t connections_per_address = 256;  // So many new ones in 10 seconds.
    std::shared_ptr<const SigningRoster> signing_roster = nullptr;  // Null: plain runs only.
    std::filesystem::path revocation_list = {};                     // Empty: nobody is revoked.
    absl::Duration revocation_interval = RevocationWatch::kLooksEvery;
    // How often the credential files are looked at for renewed ones.
    absl::Duration reload_interval = absl::Minutes(1);
    // Told when the database cannot be used any more, as by OpenStateDatabase():
    // the process is to end then.
    std::function<void(const absl::Status&)> on_store_lost = [](const absl::Status&) {};
  };

  // Goes on with the runs that are under way and begins to listen. `clock` and
  // `log` must outlive the server.
  //
  // UNAUTHENTICATED: the coordinator's own certificate is revoked.
  // UNAVAILABLE: the port is in use. INVALID_ARGUMENT: no such address. Other
  // errors: of the credentials (as LoadCredentials()), of the list of revoked certificates
  // (as RevocationList::Load()) and of the stores.
  static absl::StatusOr<std::unique_ptr<Server>> Start(const Options& options, const Clock& clock,
                                                       Log& log);

  ~Server();

  int port() const;
  const std::string& federation() const;

  // Takes nothing new on, tells sessions and watchers and closes them, lets uploads
  // and downloads go on for `patience`, and finishes what is being written. What is
  // stored stays, so that another process can go on with the runs. The first call
  // counts.
  void Shutdown(absl::Duration patience = absl::Seconds(1));

 private:
  struct Parts;
  explicit Server(std::unique_ptr<Parts> parts);

  std::unique_ptr<Parts> parts_;
};

}  // namespace fedtune
