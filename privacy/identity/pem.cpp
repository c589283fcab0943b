// SPDX-License-Identifier: Apache-2.0

#include "privacy/identity/pem.h"

#include <openssl/bio.h>
#include <openssl/pem.h>

#include "base/check.h"
#include "fmt/format.h"
#include "privacy/crypto/private_key_pem.h"

namespace fedtune {
namespace {

OpensslPtr<BIO> NewMemory() {
  OpensslPtr<BIO> bio(BIO_new(BIO_s_mem()));
  Check(bio != nullptr, "there is memory");
  return bio;
}

std::string Content(BIO* bio) {
  char* start = nullptr;
  const long size = BIO_get_mem_data(bio, &start);
  return std::string(start, static_cast<size_t>(size));
}

}  // namespace

absl::StatusOr<OpensslPtr<BIO>> ReadPemFrom(std::string_view pem) {
  return ReadPemFrom(pem, kLongestPem);
}

absl::StatusOr<OpensslPtr<BIO>> ReadPemFrom(std::string_view pem, size_t longest) {
  if (pem.size() > longest) {
    return absl::InvalidArgumentError(
        fmt::format("{} bytes or more are too many for a PEM file", pem.size()));
  }
  OpensslPtr<BIO> bio(BIO_new_mem_buf(pem.empty() ? "" : pem.data(), static_cast<int>(pem.size())));
  Check(bio != nullptr, "there is memory");
  return bio;
}

std::vector<std::string_view> SplitPem(std::string_view pem) {
  std::vector<std::string_view> blocks;
  while (pem.find_first_not_of(" \t\r\n") != pem.npos) {
    const size_t end = pem.find("-----END ");
    const size_t size = end == pem.npos ? pem.npos : pem.find('\n', end);
    blocks.push_back(pem.substr(0, size));
    pem.remove_prefix(blocks.back().size());
  }
  return blocks;
}

std::string ToPem(X509* certificate) {
  const OpensslPtr<BIO> bio = NewMemory();
  Check(PEM_write_bio_X509(bio.get(), certificate) == 1, "a certificate can be written as PEM");
  return Content(bio.get());
}

std::string ToPem(X509_req_st* request) {
  const OpensslPtr<BIO> bio = NewMemory();
  Check(PEM_write_bio_X509_REQ(bio.get(), request) == 1, "a request can be written as PEM");
  return Content(bio.get());
}

std::string ToPem(X509_CRL* list) {
  const OpensslPtr<BIO> bio = NewMemory();
  Check(PEM_write_bio_X509_CRL(bio.get(), list) == 1, "a list can be written as PEM");
  return Content(bio.get());
}

}  // namespace fedtune
