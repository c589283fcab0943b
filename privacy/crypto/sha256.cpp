// SPDX-License-Identifier: Apache-2.0

#include "privacy/crypto/sha256.h"

#include <openssl/evp.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <memory>
#include <vector>

#include "base/check.h"
#include "base/files.h"
#include "fmt/format.h"
#include "privacy/crypto/hex.h"

namespace fedtune {
namespace {

constexpr std::string_view kPrefix = "sha256:";
constexpr size_t kPieceBytes = 1 << 20;
constexpr size_t kLineBytes = 64;
constexpr size_t kBlockBytes = 1 << 10;  // What is hashed while the next one is fetched.

// -1: not a hexadecimal digit.
int HexValue(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

absl::Status NotADigest(std::string_view text) {
  return absl::InvalidArgumentError(fmt::format(
      "\"{}\" is not a SHA-256 digest: \"sha256:\" and 64 hexadecimal digits are expected",
      text.substr(0, 80)));
}

// Asks for memory ahead of its use: the hash alone does not, and then waits for what no cache
// holds.
void Fetch(std::span<const std::byte> bytes) {
  for (size_t i = 0; i < bytes.size(); i += kLineBytes) __builtin_prefetch(bytes.data() + i);
}

struct FileCloser {
  void operator()(std::FILE* file) const { std::fclose(file); }
};

}  // namespace

absl::StatusOr<Digest> Digest::Parse(std::string_view text) {
  std::string_view hex = text;
  if (hex.starts_with(kPrefix)) hex.remove_prefix(kPrefix.size());
  Digest digest;
  if (hex.size() != 2 * digest.bytes.size()) return NotADigest(text);
  for (size_t i = 0; i < digest.bytes.size(); ++i) {
    const int high = HexValue(hex[2 * i]);
    const int low = HexValue(hex[2 * i + 1]);
    if (high < 0 || low < 0) return NotADigest(text);
    digest.bytes[i] = static_cast<uint8_t>(high * 16 + low);
  }
  return digest;
}

absl::StatusOr<Digest> Digest::FromBinary(std::string_view bytes, std::string_view what) {
  Digest digest;
  if (bytes.size() != digest.bytes.size()) {
    return absl::InvalidArgumentError(
        fmt::format("{} has {} bytes, a SHA-256 has 32", what, bytes.size()));
  }
  std::copy(bytes.begin(), bytes.end(), digest.bytes.begin());
  return digest;
}

std::string Digest::ToHex() const { return fedtune::ToHex(bytes); }

std::string Digest::ToString() const { return std::string(kPrefix) + ToHex(); }

Sha256::Sha256() : context_(EVP_MD_CTX_new()) {
  Check(context_ != nullptr && EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr) == 1,
        "OpenSSL offers SHA-256");
}

Sha256& Sha256::Update(std::span<const std::byte> bytes) {
  Check(context_ != nullptr, "a finished hasher takes no more bytes");
  while (!bytes.empty()) {
    const auto block = bytes.first(std::min(bytes.size(), kBlockBytes));
    bytes = bytes.subspan(block.size());
    Fetch(bytes.first(std::min(bytes.size(), kBlockBytes)));
    Check(EVP_DigestUpdate(context_.get(), block.data(), block.size()) == 1, "SHA-256 takes bytes");
  }
  return *this;
}

Sha256& Sha256::Update(std::string_view bytes) {
  return Update(std::as_bytes(std::span(bytes.data(), bytes.size())));
}

Digest Sha256::Finish() && {
  Check(context_ != nullptr, "a hasher is finished once");
  const OpensslPtr<EVP_MD_CTX> context = std::move(context_);
  Digest digest;
  Check(EVP_DigestFinal_ex(context.get(), digest.bytes.data(), nullptr) == 1, "SHA-256 finishes");
  return digest;
}

Digest Sha256Of(std::span<const std::byte> bytes) {
  Sha256 hash;
  hash.Update(bytes);
  return std::move(hash).Finish();
}

Digest Sha256Of(std::string_view bytes) {
  return Sha256Of(std::as_bytes(std::span(bytes.data(), bytes.size())));
}

absl::StatusOr<Digest> Sha256OfFile(const std::filesystem::path& path) {
  const std::unique_ptr<std::FILE, FileCloser> file(std::fopen(path.c_str(), "rbe"));
  if (file == nullptr) return ErrnoToStatus(errno, "open", path);
  std::setvbuf(file.get(), nullptr, _IONBF, 0);
  std::vector<std::byte> piece(kPieceBytes);
  Sha256 hash;
  while (const size_t size = std::fread(piece.data(), 1, piece.size(), file.get())) {
    hash.Update(std::span(piece).first(size));
  }
  if (std::ferror(file.get()) != 0) return ErrnoToStatus(errno, "read", path);
  return std::move(hash).Finish();
}

}  // namespace fedtune
