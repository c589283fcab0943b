// SPDX-License-Identifier: Apache-2.0

#include "privacy/secure_aggregation/mask_kernels.h"

#include <algorithm>

#include "base/check.h"
#include "privacy/secure_aggregation/mask_kernels_openssl.h"

// What the compiler could build: see CMakeLists.txt.
#ifdef FEDTUNE_MASK_AESNI
#include <cpuid.h>

#include "privacy/secure_aggregation/mask_kernels_x86.h"
#endif

namespace fedtune {
namespace {

#ifdef FEDTUNE_MASK_AESNI

// Bits of CPUID and of the XCR0 register (Intel SDM, volume 1, chapters 13 and 15).
constexpr uint32_t kSsse3 = 1u << 9;         // Leaf 1, ecx.
constexpr uint32_t kAes = 1u << 25;          // Leaf 1, ecx.
constexpr uint32_t kOsxsave = 1u << 27;      // Leaf 1, ecx.
constexpr uint32_t kAvx512 = 1u << 16        // Leaf 7, ebx: F,
                             | 1u << 17      // DQ,
                             | 1u << 30      // BW,
                             | 1u << 31;     // VL.
constexpr uint32_t kVaes = 1u << 9;          // Leaf 7, ecx.
constexpr uint32_t kZmmState = 0b1110'0110;  // The system keeps xmm, ymm, masks and zmm.

struct Features {
  uint32_t leaf1_ecx = 0;
  uint32_t leaf7_ebx = 0;
  uint32_t leaf7_ecx = 0;
  uint32_t xcr0 = 0;
};

Features ReadFeatures() {
  Features features;
  uint32_t eax = 0;
  uint32_t ebx = 0;
  uint32_t ecx = 0;
  uint32_t edx = 0;
  if (__get_cpuid(1, &eax, &ebx, &ecx, &edx) == 0) return features;
  features.leaf1_ecx = ecx;
  if ((ecx & kOsxsave) != 0) {
    uint32_t high = 0;
    __asm__("xgetbv" : "=a"(features.xcr0), "=d"(high) : "c"(0));
  }
  if (__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) != 0) {
    features.leaf7_ebx = ebx;
    features.leaf7_ecx = ecx;
  }
  return features;
}

bool All(uint32_t have, uint32_t wanted) { return (have & wanted) == wanted; }

#endif

std::vector<MaskKernel> FindKernels() {
  std::vector<MaskKernel> available = {MaskKernel::kOpenssl};
#ifdef FEDTUNE_MASK_AESNI
  const Features features = ReadFeatures();
  const bool aes = All(features.leaf1_ecx, kAes | kSsse3);
  if (aes) available.push_back(MaskKernel::kAesNi);
#ifdef FEDTUNE_MASK_VAES512
  if (aes && All(features.xcr0, kZmmState) && All(features.leaf7_ebx, kAvx512) &&
      All(features.leaf7_ecx, kVaes)) {
    available.push_back(MaskKernel::kVaes512);
  }
#endif
#endif
  return available;
}

}  // namespace

const std::vector<MaskKernel>& AvailableMaskKernels() {
  static const std::vector<MaskKernel> available = FindKernels();
  return available;
}

MaskKernel BestMaskKernel() { return AvailableMaskKernels().back(); }

const MaskKernelFunctions& FunctionsOf(MaskKernel kernel) {
  const std::vector<MaskKernel>& available = AvailableMaskKernels();
  Check(std::find(available.begin(), available.end(), kernel) != available.end(),
        "a kernel of this build and machine is asked for");
#ifdef FEDTUNE_MASK_VAES512
  if (kernel == MaskKernel::kVaes512) return kVaes512MaskKernel;
#endif
#ifdef FEDTUNE_MASK_AESNI
  if (kernel == MaskKernel::kAesNi) return kAesNiMaskKernel;
#endif
  return kOpensslMaskKernel;
}

std::string_view NameOf(MaskKernel kernel) {
  switch (kernel) {
    case MaskKernel::kOpenssl:
      return "OpenSSL";
    case MaskKernel::kAesNi:
      return "AES-NI";
    case MaskKernel::kVaes512:
      return "VAES-512";
  }
  return "unknown";
}

}  // namespace fedtune
