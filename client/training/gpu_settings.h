// SPDX-License-Identifier: Apache-2.0

#pragma once

namespace fedtune {

// How LibTorch computes on GPUs, from now on and in the whole process.
//
// Attention is not cuDNN's, which LibTorch prefers on GPUs of compute capability 9 and
// 10: it makes a plan for every new shape, for longer than most steps take, and batches
// have ever new ones. Products in fp32 round nothing to TF32, whatever the environment
// says: routers choose by them.
void ApplyGpuSettings();

}  // namespace fedtune
