// SPDX-License-Identifier: Apache-2.0

#include "privacy/identity/private_key.h"

#include <fcntl.h>
#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/files.h"
#include "base/status.h"
#include "base/status_macros.h"
#include "fmt/format.h"
#include "privacy/crypto/openssl_error.h"
#include "privacy/identity/pem.h"
#include "privacy/identity/public_key.h"

namespace fedtune {
namespace {

constexpr mode_t kOthers = S_IRWXG | S_IRWXO;

// Owns a file descriptor.
class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  int get() const { return fd_; }

 private:
  const int fd_;
};

// Never asks on the terminal, as OpenSSL would by itself.
int NoPassphrase(char*, int, int, void*) { return -1; }

absl::StatusOr<SecretBytes> ReadPrivateFile(const std::filesystem::path& path) {
  const Descriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (fd.get() < 0) return ErrnoToStatus(errno, "open", path);
  struct stat status;
  if (::fstat(fd.get(), &status) != 0) return ErrnoToStatus(errno, "open", path);
  if ((status.st_mode & kOthers) != 0) {
    return absl::PermissionDeniedError(
        fmt::format("{0} can be used by others than its owner (mode {1:04o}); run: chmod 600 {0}",
                    path.string(), status.st_mode & 07777));
  }
  // One byte more than any key, so that a longer file is not taken for one.
  std::vector<uint8_t> content(kLongestPem + 1);
  const ssize_t size = ::read(fd.get(), content.data(), content.size());
  if (size < 0) return ErrnoToStatus(errno, "read", path);
  content.resize(static_cast<size_t>(size));
  return SecretBytes(std::move(content));
}

absl::Status WriteAndSync(int fd, std::string_view content, const std::filesystem::path& path) {
  const ssize_t written = ::write(fd, content.data(), content.size());
  if (written < 0) return ErrnoToStatus(errno, "write", path);
  if (static_cast<size_t>(written) != content.size()) return ErrnoToStatus(ENOSPC, "write", path);
  if (::fsync(fd) != 0) return ErrnoToStatus(errno, "sync", path);
  return absl::OkStatus();
}

}  // namespace

PrivateKey PrivateKey::Generate() {
  OpensslPtr<EVP_PKEY> key(EVP_EC_gen("P-256"));
  Check(key != nullptr, "OpenSSL makes P-256 keys");
  return PrivateKey(std::move(key));
}

absl::StatusOr<PrivateKey> PrivateKey::ParsePem(std::string_view pem) {
  ASSIGN_OR_RETURN(const OpensslPtr<BIO> bio, ReadPemFrom(pem));
  OpensslPtr<EVP_PKEY> key(PEM_read_bio_PrivateKey(bio.get(), nullptr, NoPassphrase, nullptr));
  if (key == nullptr) {
    const std::string reason = TakeOpensslError();
    if (pem.find("ENCRYPTED") != pem.npos) {
      return absl::InvalidArgumentError(
          "the key is protected by a passphrase, which a daemon cannot ask for; use a key without");
    }
    return absl::InvalidArgumentError(fmt::format("no private key in PEM ({})", reason));
  }
  RETURN_IF_ERROR(CheckIsP256(key.get()));
  return PrivateKey(std::move(key));
}

absl::StatusOr<PrivateKey> PrivateKey::Load(const std::filesystem::path& path) {
  ASSIGN_OR_RETURN(const SecretBytes pem, ReadPrivateFile(path));
  absl::StatusOr<PrivateKey> key = ParsePem(pem.RevealText());
  if (!key.ok()) return Annotate(key.status(), path.string());
  return key;
}

absl::Status PrivateKey::SaveNew(const std::filesystem::path& path) const {
  const Descriptor fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (fd.get() < 0 && errno == EEXIST) {
    return absl::AlreadyExistsError(
        fmt::format("{} exists; a key is never overwritten, move it away first", path.string()));
  }
  if (fd.get() < 0) return ErrnoToStatus(errno, "create", path);
  absl::Status status = WriteAndSync(fd.get(), ToPem().RevealText(), path);
  if (!status.ok()) ::unlink(path.c_str());
  return status;
}

SecretBytes PrivateKey::ToPem() const {
  const OpensslPtr<BIO> bio(BIO_new(BIO_s_secmem()));
  Check(bio != nullptr && PEM_write_bio_PrivateKey(bio.get(), key_.get(), nullptr, nullptr, 0,
                                                   nullptr, nullptr) == 1,
        "a key can be written as PEM");
  char* start = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &start);
  return SecretBytes(std::vector<uint8_t>(start, start + size));
}

}  // namespace fedtune
