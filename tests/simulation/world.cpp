// SPDX-License-Identifier: Apache-2.0

#include "tests/simulation/world.h"

#include <unistd.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "base/check.h"
#include "base/status.h"
#include "coordinator/rpc/training_conversion.h"
#include "simulation/seeded_random.h"
#include "tests/simulation/federation.h"
#include "tests/simulation/wording.h"

namespace fedtune::simulation {
namespace {

absl::Status Unreachable() { return absl::UnavailableError("no answer"); }

// In memory where there is such a place: journals are synced at every step.
std::filesystem::path NewDirectory() {
  const std::filesystem::path memory = "/dev/shm";
  const std::filesystem::path parent =
      ::access(memory.c_str(), W_OK) == 0 ? memory : std::filesystem::temp_directory_path();
  std::string pattern = (parent / "fedtune-simulation-XXXXXX").string();
  Check(::mkdtemp(pattern.data()) != nullptr, "a folder can be made");
  return pattern;
}

}  // namespace

// A session between a client's process and a coordinator's: in order, both ways,
// until it breaks. What is under way then is lost, but for the first few messages
// to the coordinator.
struct World::Link {
  Institution client;
  SessionEars ears;
  int64_t generation = 0;  // Of the coordinator.
  std::shared_ptr<ClientLine> line;
  bool broken = false;
  bool open_at_client = true;
  bool open_at_coordinator = false;
  int64_t up_left = std::numeric_limits<int64_t>::max();
  absl::Duration last_up = absl::ZeroDuration();
  absl::Duration last_down = absl::ZeroDuration();
};

class World::End final : public SessionEnd {
 public:
  End(World& world, std::shared_ptr<Link> link) : world_(world), link_(std::move(link)) {}
  ~End() override { link_->open_at_client = false; }

  void Send(const v1::ClientMessage& message) override { world_.Up(link_, message); }
  void Abandon() override {
    link_->open_at_client = false;
    world_.Break(link_);
  }

 private:
  World& world_;
  const std::shared_ptr<Link> link_;
};

World::World(uint64_t seed, Doubles& doubles, bool quiet)
    : doubles_(doubles),
      directory_(NewDirectory()),
      ground_(seed, quiet,
              [this] {
                CheckGeneration();
                coordinator_.AfterEach();
                auditor_.AfterEach(ground_.scheduler.now());
              }),
      auditor_(ground_.plan, [this](std::string_view what) { ground_.Say("VIOLATION", what); }),
      coordinator_(ground_, auditor_, doubles_, directory_ / "spool") {
  for (int i = 0; i < ground_.plan.clients; ++i) {
    const Institution& institution = Federation::Get().institutions()[static_cast<size_t>(i)];
    const std::filesystem::path disk = directory_ / institution.value;
    std::filesystem::create_directory(disk);
    clients_.push_back(std::make_unique<SimulatedClient>(institution, disk, ground_, *this));
  }
}

World::~World() {
  clients_.clear();
  std::error_code ignored;
  std::filesystem::remove_all(directory_, ignored);
}

void World::Run() {
  SeedRandomBytes(ground_.draws.Next());
  coordinator_.Start();
  for (const auto& client : clients_) client->Start();
  ground_.scheduler.After(absl::Seconds(1), [this] { coordinator_.StartRun(); });
  BeginFaults();
  const absl::Duration horizon = Horizon();
  while (!coordinator_.is_over() && ground_.scheduler.now() < horizon) {
    TryAgainIfEnded();
    if (!ground_.scheduler.Step()) break;
  }
  auditor_.AtTheEnd();
}

void World::TryAgainIfEnded() {
  if (!coordinator_.has_ended()) {
    is_tried_again_ = false;
  } else if (!std::exchange(is_tried_again_, true)) {
    ground_.scheduler.After(ground_.draws.Between(absl::Seconds(1), absl::Minutes(1)),
                            [this] { coordinator_.RetryRun(); });
  }
}

// Every round may be tried twice, and the store may wait.
absl::Duration World::Horizon() const {
  const SchedulePlan& plan = ground_.plan;
  const absl::Duration attempt = 2 * plan.deadline + 3 * plan.phase_deadline + absl::Minutes(1);
  return plan.calm + absl::Minutes(10) +
         2 * (plan.rounds + 1) * (plan.faults.retries + 1) * attempt;
}

std::string World::Story() const {
  std::string story;
  for (const std::string& line : ground_.trace) story += line + "\n";
  return story;
}

std::string World::Summary() const {
  const std::optional<RunRecord> run = auditor_.disk();
  const SchedulePlan& plan = ground_.plan;
  return fmt::format("{}, {}, {} rounds released, {} of them burnt",
                     plan.secure             ? "secure"
                     : plan.asynchronous     ? "asynchronous"
                     : plan.keeps_stragglers ? "plain, keeping stragglers"
                                             : "plain",
                     run.has_value() ? ToString(run->state) : "not started", auditor_.released(),
                     auditor_.burnt());
}

// ---- Sessions ----

bool World::Reaches(const Institution& client) const {
  const auto found = cut_off_.find(client);
  const bool cut_off = found != cut_off_.end() && ground_.scheduler.now() < found->second;
  return coordinator_.is_up() && !cut_off;
}

std::unique_ptr<SessionEnd> World::Connect(const Institution& client, SessionEars ears) {
  if (!Reaches(client)) return nullptr;
  auto link = std::make_shared<Link>();
  link->client = client;
  link->ears = std::move(ears);
  link->generation = coordinator_.generation();
  links_.push_back(link);
  ground_.scheduler.After(ground_.Latency(), [this, link] { Open(link); });
  return std::make_unique<End>(*this, link);
}

void World::Open(const std::shared_ptr<Link>& link) {
  if (link->broken || !coordinator_.is_up()) return;
  link->open_at_coordinator = true;
  const std::weak_ptr<Link> weak = link;
  link->line =
      coordinator_.Connect(link->client, {.tell =
                                              [this, weak](v1::CoordinatorMessage message) {
                                                if (const auto self = weak.lock())
                                                  Down(self, std::move(message));
                                              },
                                          .close =
                                              [this, weak] {
                                                if (const auto self = weak.lock()) Break(self);
                                              }});
}

void World::Down(const std::shared_ptr<Link>& link, v1::CoordinatorMessage message) {
  link->last_down = std::max(link->last_down, ground_.scheduler.now() + ground_.Latency());
  ground_.scheduler.At(link->last_down, [this, link, message = std::move(message)] {
    if (link->broken || !link->open_at_client) return;
    ground_.Say(link->client.value, fmt::format("hears {}", InWords(message)));
    link->ears.heard(message);
  });
}

void World::Up(const std::shared_ptr<Link>& link, v1::ClientMessage message) {
  auditor_.Said(link->client, message);
  std::vector<v1::ClientMessage> messages = doubles_.AlsoSaid(message);
  for (const v1::ClientMessage& also : messages) auditor_.Said(link->client, also);
  messages.insert(messages.begin(), std::move(message));
  link->last_up = std::max(link->last_up, ground_.scheduler.now() + ground_.Latency());
  ground_.scheduler.At(link->last_up, [this, link, messages = std::move(messages)] {
    if (!link->open_at_coordinator || link->generation != coordinator_.generation()) return;
    if (link->up_left-- <= 0) return;
    for (const v1::ClientMessage& said : messages) {
      ground_.Say(link->client.value, fmt::format("says {}", InWords(said)));
      coordinator_.Receive(link->client, said);
    }
  });
}

// Both ends notice, each in its time.
void World::Break(const std::shared_ptr<Link>& link) {
  if (std::exchange(link->broken, true)) return;
  link->up_left = ground_.draws.Below(4);
  const absl::Duration client = ground_.draws.Between(absl::Milliseconds(1), absl::Seconds(20));
  const absl::Duration hub = ground_.draws.Between(absl::Milliseconds(1), absl::Seconds(40));
  ground_.scheduler.After(client, [link] {
    if (std::exchange(link->open_at_client, false)) link->ears.lost();
  });
  ground_.scheduler.After(hub, [this, link] {
    if (!std::exchange(link->open_at_coordinator, false)) return;
    if (link->generation != coordinator_.generation() || link->line == nullptr) return;
    coordinator_.Disconnect(link->client, link->line.get());
  });
}

// A coordinator's process takes its sessions with it.
void World::CheckGeneration() {
  std::erase_if(links_, [this](const std::shared_ptr<Link>& link) {
    const bool gone = !coordinator_.is_up() || link->generation != coordinator_.generation();
    if (gone) Break(link);
    return link->broken;
  });
}

// ---- Calls ----

void World::Wait(absl::Duration time, const std::function<bool()>& is_alive) {
  ground_.scheduler.Pause(time);
  if (!is_alive()) throw ProcessEnded();
}

absl::StatusOr<std::string> World::Fetch(const Institution& client, const Digest& digest,
                                         const std::function<bool()>& is_alive) {
  if (!Reaches(client) || ground_.Happens(ground_.plan.faults.call_lost)) return Unreachable();
  if (ground_.Happens(ground_.plan.faults.slow_call)) {
    Wait(ground_.draws.Between(absl::Milliseconds(10), absl::Seconds(20)), is_alive);
  }
  return coordinator_.Fetch(digest);
}

absl::Status World::Submit(const Institution& client, const v1::ContributionHeader& header,
                           std::string_view bytes, const std::function<bool()>& is_alive) {
  auditor_.Submits(client, header, bytes);
  absl::Status answer = HandIn(client, header, bytes, is_alive);
  answer = doubles_.Heard(std::move(answer));
  if (answer.ok()) auditor_.Acknowledged(client, header.round(), header.attempt());
  ground_.Say(client.value, fmt::format("hands in round {} attempt {}: {}", header.round(),
                                        header.attempt(), answer.ok() ? "taken" : Message(answer)));
  return answer;
}

absl::Status World::HandIn(const Institution& client, const v1::ContributionHeader& header,
                           std::string_view bytes, const std::function<bool()>& is_alive) {
  const FaultMix& faults = ground_.plan.faults;
  if (!Reaches(client) || ground_.Happens(faults.call_lost)) return Unreachable();
  if (ground_.Happens(faults.late_duplicate)) Again(client, header, bytes);
  auto upload = coordinator_.Begin(client, header);
  if (!upload.ok()) return upload.status();
  if (ground_.Happens(faults.slow_call)) {
    Wait(ground_.draws.Between(absl::Milliseconds(10), absl::Seconds(30)), is_alive);
    if (!Reaches(client)) return Unreachable();
  }
  if (ground_.Happens(faults.call_cut)) {
    const auto part = static_cast<size_t>(ground_.draws.Below(std::ssize(bytes) + 1));
    coordinator_.Finish(**upload, bytes.substr(0, part), false).IgnoreError();
    return Unreachable();
  }
  const absl::Status taken = coordinator_.Finish(**upload, bytes, true);
  return ground_.Happens(faults.answer_lost) ? Unreachable() : taken;
}

// What a network may still deliver long after its sender has given up.
void World::Again(const Institution& client, const v1::ContributionHeader& header,
                  std::string_view bytes) {
  ground_.scheduler.After(
      ground_.draws.Between(absl::Milliseconds(10), absl::Minutes(3)),
      [this, client, header, bytes = std::string(bytes)] {
        auto upload = coordinator_.Begin(client, header);
        const absl::Status taken =
            upload.ok() ? coordinator_.Finish(**upload, bytes, true) : upload.status();
        ground_.Say(client.value,
                    fmt::format("is late with round {} attempt {}: {}", header.round(),
                                header.attempt(), taken.ok() ? "taken" : "refused"));
      });
}

// ---- Faults ----

SimulatedClient& World::AnyClient() {
  return *clients_[static_cast<size_t>(ground_.draws.Below(std::ssize(clients_)))];
}

void World::Repeat(absl::Duration mean, const std::function<void()>& fault) {
  if (mean == absl::InfiniteDuration()) return;
  ground_.scheduler.After(ground_.draws.Between(absl::Milliseconds(1), 2 * mean),
                          [this, mean, fault] {
                            if (ground_.IsCalm()) return;
                            fault();
                            Repeat(mean, fault);
                          });
}

void World::BeginFaults() {
  const FaultMix& faults = ground_.plan.faults;
  Draws& draws = ground_.draws;
  Repeat(faults.coordinator_crash, [this, &draws] {
    if (draws.Chance(0.5)) return coordinator_.CutPower("at any time");
    coordinator_.Crash("by a signal");
  });
  Repeat(faults.client_crash, [this] { AnyClient().Crash(); });
  Repeat(faults.cut, [this, &draws] {
    if (links_.empty()) return;
    Break(links_[static_cast<size_t>(draws.Below(std::ssize(links_)))]);
  });
  Repeat(faults.partition, [this, &draws] {
    const Institution client = AnyClient().institution();
    cut_off_[client] = ground_.scheduler.now() + draws.Between(absl::Seconds(1), absl::Minutes(2));
    for (const auto& link : links_) {
      if (link->client == client) Break(link);
    }
  });
  Repeat(faults.disk_full, [this, &draws] {
    coordinator_.FillDisk(draws.Between(absl::Seconds(1), absl::Minutes(1)));
  });
  Repeat(faults.store_held, [this, &draws] {
    coordinator_.HoldStore(draws.Between(absl::Seconds(1), absl::Seconds(30)));
  });
  Repeat(faults.clock_step, [this, &draws] {
    AnyClient().StepClock(draws.Between(-absl::Minutes(10), absl::Minutes(10)));
  });
  Repeat(faults.stop, [this] { coordinator_.StopRun(); });
  Repeat(faults.pause, [this, &draws] {
    coordinator_.PauseRun();
    ground_.scheduler.After(draws.Between(absl::Seconds(1), absl::Minutes(4)),
                            [this] { coordinator_.ResumeRun(); });
  });
}

}  // namespace fedtune::simulation
