// SPDX-License-Identifier: Apache-2.0

#include "bench/transport/limits.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <functional>
#include <numeric>
#include <thread>
#include <vector>

#include "absl/time/clock.h"
#include "aggregation/adapter_layout.h"
#include "aggregation/value_range.h"
#include "aggregation/weighted_sum.h"
#include "base/check.h"
#include "base/usable_cores.h"
#include "bench/transport/sockets.h"
#include "privacy/crypto/sha256.h"
#include "tests/support/temporary_directory.h"
#include "tests/support/values_in_memory.h"

namespace fedtune::bench {
namespace {

constexpr size_t kBuffer = size_t{1} << 20;
constexpr size_t kLarge = size_t{256} << 20;  // Beyond what a core's cache holds.

absl::Duration TimeOf(const std::function<void()>& work) {
  const absl::Time start = absl::Now();
  work();
  return absl::Now() - start;
}

// The best of five.
double BestRate(size_t bytes, const std::function<void()>& work) {
  absl::Duration best = absl::InfiniteDuration();
  for (int i = 0; i < 5; ++i) best = std::min(best, TimeOf(work));
  return static_cast<double>(bytes) / absl::ToDoubleSeconds(best);
}

void SendAll(int socket, size_t bytes) {
  const std::vector<char> buffer(kBuffer, 1);
  while (bytes > 0) {
    const ssize_t sent = ::send(socket, buffer.data(), std::min(bytes, kBuffer), 0);
    Check(sent > 0, "a connection over loopback broke");
    bytes -= static_cast<size_t>(sent);
  }
}

void ReceiveAll(int socket, size_t bytes) {
  std::vector<char> buffer(kBuffer);
  while (bytes > 0) {
    const ssize_t received = ::recv(socket, buffer.data(), std::min(bytes, kBuffer), 0);
    Check(received > 0, "a connection over loopback broke");
    bytes -= static_cast<size_t>(received);
  }
}

void Seal(EVP_CIPHER_CTX* context, std::vector<unsigned char>& buffer) {
  const unsigned char key[32] = {1};
  const unsigned char nonce[12] = {2};
  int size = 0;
  ::EVP_EncryptInit_ex(context, ::EVP_aes_256_gcm(), nullptr, key, nonce);
  ::EVP_EncryptUpdate(context, buffer.data(), &size, buffer.data(),
                      static_cast<int>(buffer.size()));
  ::EVP_EncryptFinal_ex(context, buffer.data(), &size);
}

}  // namespace

double LoopbackRate() {
  const Connection connection;
  return BestRate(kLarge, [&] {
    const std::jthread sender([&] { SendAll(connection.server, kLarge); });
    ReceiveAll(connection.client, kLarge);
  });
}

double MemoryReadRate() {
  const std::vector<uint64_t> numbers(kLarge / sizeof(uint64_t), 1);
  uint64_t sum = 0;
  const double rate =
      BestRate(kLarge, [&] { sum += std::accumulate(numbers.begin(), numbers.end(), sum); });
  Check(sum != 0, "a sum of ones");
  return rate;
}

double MemoryCopyRate() {
  const std::vector<char> from(kLarge, 1);
  std::vector<char> to(kLarge);
  return BestRate(kLarge, [&] { std::memcpy(to.data(), from.data(), kLarge); });
}

double AggregationRate() {
  constexpr size_t kValues = size_t{6} << 20;
  constexpr int kUpdates = 10;
  constexpr size_t kBlock = size_t{16} << 10;  // As the server's step reads it.
  constexpr int64_t kRank = 16;
  AdapterModule module;
  module.name = "layer";
  module.in_features = module.out_features = static_cast<int64_t>(kValues) / kRank / 2;
  module.lora_rank = kRank;
  module.alpha = kRank;
  const AdapterLayout layout = *AdapterLayout::Create({module});
  WeightedSum sum(layout, FactorSet::kBoth);
  for (int i = 0; i < kUpdates; ++i) {
    std::vector<float> values(kValues, 1e-3f * static_cast<float>(i + 1));
    ValueRange range;
    range.Add(values);
    Check(sum.Add(std::make_shared<testing::ValuesInMemory>(std::move(values)), range, i + 1).ok(),
          "small values can be added");
  }
  std::vector<float> mean(kBlock);
  return BestRate(kUpdates * kValues * sizeof(float), [&] {
    for (size_t first = 0; first < kValues; first += kBlock) {
      Check(sum.Mean(static_cast<int64_t>(first), mean).ok(), "values in memory can be read");
    }
  });
}

double AesGcmRate() {
  std::vector<unsigned char> buffer(size_t{16} << 10);  // A TLS record.
  const std::unique_ptr<EVP_CIPHER_CTX, void (*)(EVP_CIPHER_CTX*)> context(::EVP_CIPHER_CTX_new(),
                                                                           ::EVP_CIPHER_CTX_free);
  return BestRate(kLarge, [&] {
    for (size_t done = 0; done < kLarge; done += buffer.size()) Seal(context.get(), buffer);
  });
}

double Sha256Rate() {
  const std::vector<std::byte> buffer(kLarge);
  return BestRate(kLarge, [&] { Sha256Of(buffer); });
}

double SyncedWriteRate() {
  const testing::TemporaryDirectory directory;
  const std::vector<char> buffer(kBuffer, 1);
  const int fd = ::open((directory.path() / "written").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  Check(fd >= 0, "a file in the folder for temporary ones");
  const double rate = BestRate(kLarge, [&] {
    Check(::ftruncate(fd, 0) == 0, "a file of ours is cut off");
    for (size_t done = 0; done < kLarge; done += buffer.size()) {
      Check(::write(fd, buffer.data(), buffer.size()) > 0, "the disk takes a file");
    }
    Check(::fdatasync(fd) == 0, "the disk takes a file");
  });
  ::close(fd);
  return rate;
}

absl::Duration SyncTime() {
  const testing::TemporaryDirectory directory;
  const int fd = ::open((directory.path() / "written").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  Check(fd >= 0, "a file in the folder for temporary ones");
  constexpr int kTimes = 101;
  std::vector<absl::Duration> times;
  for (int i = 0; i < kTimes; ++i) {
    times.push_back(TimeOf([&] {
      Check(::write(fd, "byte", 4) == 4 && ::fdatasync(fd) == 0, "the disk takes a file");
    }));
  }
  ::close(fd);
  std::sort(times.begin(), times.end());
  return times[kTimes / 2];
}

absl::Duration EchoTime(int clients, size_t bytes) {
  std::vector<std::unique_ptr<Connection>> connections;
  for (int i = 0; i < clients; ++i) connections.push_back(std::make_unique<Connection>());
  return TimeOf([&] {
    std::vector<std::jthread> threads;
    for (const auto& connection : connections) {
      threads.emplace_back([&connection, bytes] {
        SendAll(connection->server, bytes);
        ReceiveAll(connection->server, bytes);
      });
      threads.emplace_back([&connection, bytes] {
        ReceiveAll(connection->client, bytes);
        SendAll(connection->client, bytes);
      });
    }
  });
}

absl::Duration HashTime(int clients, size_t bytes) {
  constexpr int kTimesAClient = 3;
  const std::vector<std::byte> update(bytes, std::byte{1});
  std::atomic<int> left = kTimesAClient * clients;
  return TimeOf([&] {
    std::vector<std::jthread> threads;
    for (int i = 0; i < UsableCores(); ++i) {
      threads.emplace_back([&] {
        while (left-- > 0) Sha256Of(update);
      });
    }
  });
}

}  // namespace fedtune::bench
