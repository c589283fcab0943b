// SPDX-License-Identifier: Apache-2.0

#include "privacy/secure_aggregation/graph_parameters.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "fmt/format.h"

namespace fedtune {
namespace {

// 2^-40 for the secrets' safety, half of it for each of two events: that some
// client has too many corrupt neighbours, and that those who are left, honest and
// not dropped, fall into two groups whose sums could be told apart.
const double kLogInsecure = -41 * std::log(2.0);
const double kLogTooFew = -20 * std::log(2.0);

// Of `population` clients `marked` are corrupt, or drop out.
class Neighbors {
 public:
  Neighbors(int population, int marked) : population_(population), marked_(marked) {
    log_factorial_.resize(static_cast<size_t>(population) + 1);
    for (size_t i = 2; i < log_factorial_.size(); ++i) {
      log_factorial_[i] = log_factorial_[i - 1] + std::log(static_cast<double>(i));
    }
  }

  // ln of the chance that some client has `at_least` marked ones among `degree`
  // neighbours: a hypergeometric tail, times the number of clients.
  double LogChance(int degree, int at_least) const {
    double sum = 0;
    for (int hits = std::min(marked_, degree); hits >= std::max(at_least, 0); --hits) {
      if (degree - hits > population_ - marked_) break;
      sum += std::exp(LogChoose(marked_, hits) + LogChoose(population_ - marked_, degree - hits) -
                      LogChoose(population_, degree));
    }
    return std::log(sum) + std::log(static_cast<double>(population_));
  }

 private:
  double LogChoose(int from, int take) const {
    return log_factorial_[static_cast<size_t>(from)] - log_factorial_[static_cast<size_t>(take)] -
           log_factorial_[static_cast<size_t>(from - take)];
  }

  int population_;
  int marked_;
  std::vector<double> log_factorial_;
};

// ln of a bound on the chance that a ring falls apart: two runs of degree / 2
// clients, at any of clients (clients - degree - 1) / 2 pairs of places, are all
// among the `lost` ones, corrupt or dropped.
double LogChanceOfTwoGroups(int clients, int lost, int degree) {
  if (degree > lost || degree >= clients - 1) return -HUGE_VAL;
  double sum = std::log(0.5 * clients * (clients - degree - 1.0));
  for (int i = 0; i < degree; ++i) {
    sum += std::log(static_cast<double>(lost - i) / static_cast<double>(clients - i));
  }
  return sum;
}

// The most corrupt neighbours that any client is to be expected to have.
int MostCorrupt(const Neighbors& corrupt, int degree) {
  int most = 0;
  while (most < degree && corrupt.LogChance(degree, most + 1) >= kLogInsecure) ++most;
  return most;
}

// A liar tells some neighbours that a client is alive and others that it is
// dropped: with the corrupt ones on both sides, neither side may have enough.
int LeastThreshold(int degree, int most_corrupt, Adversary adversary) {
  const int least =
      adversary == Adversary::kCurious ? most_corrupt + 1 : (degree + most_corrupt) / 2 + 1;
  return std::max(least, 2);  // A single share of one would be the secret itself.
}

// 0.29 * 100 is 28.999...: a share that is a whole number of clients must not
// lose one of them.
int CountOf(double share, int clients) {
  return static_cast<int>(std::floor((share + 1e-14) * clients));
}

}  // namespace

absl::StatusOr<GraphParameters> FindGraphParameters(int clients, double corrupt_share,
                                                    double dropped_share, Adversary adversary) {
  if (clients < 3 || !(corrupt_share >= 0 && corrupt_share < 1) ||
      !(dropped_share >= 0 && dropped_share < 1)) {
    return absl::InvalidArgumentError(
        fmt::format("no graph over {} clients with shares of {} corrupt and {} dropped ones",
                    clients, corrupt_share, dropped_share));
  }
  const int corrupt_clients = CountOf(corrupt_share, clients);
  const int dropped_clients = CountOf(dropped_share, clients);
  const Neighbors corrupt(clients, corrupt_clients);
  const Neighbors dropped(clients, dropped_clients);
  for (int degree = 2; degree < clients; degree += 2) {
    const double two_groups =
        LogChanceOfTwoGroups(clients, corrupt_clients + dropped_clients, degree);
    if (two_groups >= kLogInsecure) continue;
    const int threshold = LeastThreshold(degree, MostCorrupt(corrupt, degree), adversary);
    if (threshold > degree) continue;
    if (dropped.LogChance(degree, degree - threshold + 1) < kLogTooFew) {
      return GraphParameters{.degree = degree, .threshold = threshold};
    }
  }
  return absl::NotFoundError(
      fmt::format("no graph over {} clients withstands {:.0f} % corrupt and {:.0f} % dropped ones",
                  clients, 100 * corrupt_share, 100 * dropped_share));
}

}  // namespace fedtune
