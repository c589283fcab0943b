// SPDX-License-Identifier: Apache-2.0

#include "coordinator/driver/client_gateway.h"

#include <string>
#include <utility>

#include "base/status.h"
#include "base/status_macros.h"
#include "coordinator/storage/spool_pack.h"
#include "fmt/format.h"

namespace fedtune {
namespace {

absl::Status NotUnderWay(const RunId& run) {
  return absl::FailedPreconditionError(fmt::format("{} is not under way (any more)", run.value));
}

absl::StatusOr<SpooledBytes> NewBytes(const Institution& from, const ContributionHeader& header,
                                      SpoolPack& pack) {
  const std::string who = Sha256Of(from.value).ToHex().substr(0, 16);
  return SpooledBytes::CreateOrGoOn(pack, SlotsOf(header.round, header.attempt) + who,
                                    header.sha256, header.size_bytes);
}

}  // namespace

void ClientGateway::Connect(ClientRecord client, std::shared_ptr<ClientLine> line) {
  client.last_seen = parts_.clock.Now();
  parts_.clients.Save(client);
  const bool says = SaysThatItComesOrGoes(client.institution);
  if (says) {
    parts_.log.Info("client connected",
                    {Field("client", client.institution.value), Field("version", client.version),
                     Field("device", client.device_kind)});
  }
  if (parts_.lines.Connect(client.institution, std::move(line)) && says) {
    parts_.log.Warning(
        "a client's session was replaced by a newer one; if that happens again and again, two "
        "clients run with its key",
        {Field("client", client.institution.value)});
  }
  parts_.runs.ConnectionChanged(client.institution);
}

void ClientGateway::Disconnect(const ClientRecord& client, const ClientLine* line) {
  if (!parts_.lines.Disconnect(client.institution, line)) return;
  if (SaysThatItComesOrGoes(client.institution)) {
    parts_.log.Info("client disconnected", {Field("client", client.institution.value)});
  }
  ClientRecord seen = client;
  seen.last_seen = parts_.clock.Now();
  parts_.clients.Save(std::move(seen));
  parts_.runs.ConnectionChanged(client.institution);
}

bool ClientGateway::SaysThatItComesOrGoes(const Institution& client) {
  const RepeatedNews::Say say = Note(comings_and_goings_, client);
  if (say == RepeatedNews::Say::kThatItIsTheLast) {
    parts_.log.Warning(
        "a client connects again and again; the log says no more of that for some minutes",
        {Field("client", client.value)});
  }
  return say != RepeatedNews::Say::kNothing;
}

void ClientGateway::Receive(const Institution& from, const RunId& run, ClientEvent event) {
  const auto driver = parts_.runs.Find(run);
  if (driver == nullptr) return;
  std::optional<ClientFailed> failed;
  if (const auto* failure = std::get_if<ClientFailed>(&event)) failed = *failure;
  if (driver->Receive(from, std::move(event)) && failed.has_value()) {
    LogFailure(from, run, *failed);
  }
}

void ClientGateway::LogFailure(const Institution& from, const RunId& run,
                               const ClientFailed& failed) {
  if (Note(failures_, from) == RepeatedNews::Say::kNothing) return;
  parts_.log.Warning(
      "a client has failed in a round",
      {Field("run", run.value), Field("round", failed.round + 1), Field("attempt", failed.attempt),
       Field("client", from.value), Field("why", ShortReason(failed.reason))});
}

void ClientGateway::CallRefused(const Institution& from, const absl::Status& why) {
  if (Note(refused_calls_, from) == RepeatedNews::Say::kNothing) return;
  parts_.log.Warning("a client's call is refused",
                     {Field("client", from.value), Field("why", Message(why))});
}

RepeatedNews::Say ClientGateway::Note(RepeatedNews& news, const Institution& client) {
  const std::lock_guard lock(mutex_);
  return news.Note(client, parts_.clock.Monotonic());
}

absl::StatusOr<Admission> ClientGateway::CheckContribution(const Institution& from,
                                                           const RunId& run,
                                                           const ContributionHeader& header) {
  const auto driver = parts_.runs.Find(run);
  absl::StatusOr<Admission> admission =
      driver == nullptr ? NotUnderWay(run) : driver->CheckContribution(from, header);
  if (absl::IsFailedPrecondition(admission.status()) ||
      absl::IsPermissionDenied(admission.status()) || absl::IsInvalidArgument(admission.status())) {
    LogRefusal(from, run, header, admission.status());
  }
  return admission;
}

void ClientGateway::LogRefusal(const Institution& from, const RunId& run,
                               const ContributionHeader& header, const absl::Status& why) {
  const RepeatedNews::Say say = Note(refusals_, from);
  if (say == RepeatedNews::Say::kNothing) return;
  parts_.log.Info("contribution refused",
                  {Field("run", run.value), Field("round", header.round + 1),
                   Field("client", from.value), Field("why", Message(why))});
  if (say == RepeatedNews::Say::kIt) return;
  parts_.log.Warning(
      "a client's contributions are refused again and again; the log says no more of that for "
      "some minutes",
      {Field("client", from.value)});
}

// Who takes it; null, and it has its outcome: nobody.
std::shared_ptr<RunDriver> ClientGateway::Taker(const RunId& run, HandedIn& handed) const {
  std::shared_ptr<RunDriver> driver = parts_.runs.Find(run);
  if (driver == nullptr) handed.outcome = NotUnderWay(run);
  return driver;
}

void ClientGateway::Take(const RunId& run, std::span<HandedIn* const> handed_in) {
  std::shared_ptr<RunDriver> driver;
  for (HandedIn* handed : handed_in) driver = Taker(run, *handed);
  if (driver != nullptr) driver->Take(handed_in);
}

void ClientGateway::TakeLater(const RunId& run, HandedIn& handed) {
  if (const auto driver = Taker(run, handed)) return driver->TakeLater(handed);
  std::exchange(handed.decided, nullptr)();
}

absl::StatusOr<MaskedInput> ClientGateway::NewMaskedInput(const Institution& from, const RunId& run,
                                                          const ContributionHeader& header) const {
  const auto driver = parts_.runs.Find(run);
  if (driver == nullptr) return NotUnderWay(run);
  ASSIGN_OR_RETURN(SpooledBytes bytes, NewBytes(from, header, driver->pack()));
  return MaskedInput::Create(driver->ring(), std::move(bytes));
}

absl::StatusOr<ContributionBuffer> ClientGateway::NewBuffer(
    const Institution& from, const RunId& run, const ContributionHeader& header) const {
  const auto driver = parts_.runs.Find(run);
  if (driver == nullptr) return NotUnderWay(run);
  ASSIGN_OR_RETURN(SpooledBytes bytes, NewBytes(from, header, driver->pack()));
  return ContributionBuffer::Create(header, std::move(bytes));
}

void ClientGateway::CouldNotKeep(const Institution& from, const RunId& run,
                                 const ContributionHeader& header, absl::Duration took,
                                 const absl::Status& why) {
  const auto driver = parts_.runs.Find(run);
  if (driver == nullptr || !driver->CouldNotKeep(from, header, took, why)) return;
  {
    const std::lock_guard lock(mutex_);
    const auto attempt = std::make_pair(header.round, header.attempt);
    if (std::exchange(not_kept_[{from, run}], attempt) == attempt) return;
  }
  parts_.log.Warning("a contribution cannot be kept, its client tries again until it can",
                     {Field("client", from.value), Field("why", Message(why))});
}

void ClientGateway::ContributionRefused(const Institution& from, const RunId& run,
                                        const ContributionHeader& header, const absl::Status& why) {
  Receive(from, run,
          ClientFailed{.round = header.round,
                       .attempt = header.attempt,
                       .reason = fmt::format("its contribution was refused: {}", Message(why))});
}

absl::StatusOr<Blob> ClientGateway::FetchBlob(const Digest& digest) const {
  std::optional<Blob> newest = parts_.runs.FetchAdapter(digest);
  if (newest.has_value()) return *std::move(newest);
  return parts_.run_store.GetBlob(digest);
}

}  // namespace fedtune
