// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "coordinator/rounds/round_journal.h"
#include "coordinator/rounds/run_events.h"
#include "privacy/crypto/canonical_bytes.h"

namespace fedtune {

// How a journal's entries write what contributions say of themselves. Readers give back
// something whatever they find; the CanonicalReader knows whether it was there.

constexpr size_t kMaxMessage = size_t{64} << 20;  // gRPC's limit is below it.

inline void Put(CanonicalWriter& out, int64_t value) { out.U64(static_cast<uint64_t>(value)); }
inline void Put(CanonicalWriter& out, double value) { out.U64(std::bit_cast<uint64_t>(value)); }
inline int64_t GetInt(CanonicalReader& in) { return static_cast<int64_t>(in.U64()); }
inline double GetDouble(CanonicalReader& in) { return std::bit_cast<double>(in.U64()); }

void Put(CanonicalWriter& out, const ContributionHeader& header);
ContributionHeader GetHeader(CanonicalReader& in);

void Put(CanonicalWriter& out, const std::optional<SpooledContent>& content);
std::optional<SpooledContent> GetContent(CanonicalReader& in);

inline constexpr size_t kMaxText = 4096;
std::string GetText(CanonicalReader& in);

void Put(CanonicalWriter& out, const Blame& blame);
Blame GetBlame(CanonicalReader& in);

void Put(CanonicalWriter& out, const OpenWork& work);
OpenWork GetWork(CanonicalReader& in);

}  // namespace fedtune
