// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <zlib.h>

#include <filesystem>
#include <string>

#include "gtest/gtest.h"

namespace fedtune::testing {

// The content of a file, compressed by gzip or not; the test fails if there is none.
// Its users link ZLIB::ZLIB.
inline std::string ReadCompressed(const std::filesystem::path& path) {
  std::string content;
  const gzFile file = gzopen(path.c_str(), "rb");
  EXPECT_NE(file, nullptr) << path;
  if (file == nullptr) return content;
  char block[1 << 16];
  for (int size = 0; (size = gzread(file, block, sizeof(block))) > 0;) {
    content.append(block, static_cast<size_t>(size));
  }
  gzclose(file);
  return content;
}

}  // namespace fedtune::testing
