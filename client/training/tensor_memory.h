// SPDX-License-Identifier: Apache-2.0

#pragma once

namespace fedtune {

// Tensors on the CPU get their memory by malloc() from now on, and lie at multiples
// of 64 bytes, as LibTorch's do. LibTorch asks posix_memalign() for it, which in
// glibc before 2.38 takes no hole of the size it is to fill, so that a training's
// heap has two thirds more than what is alive in it.
//
// What a step frees stays with the process for the next one, instead of going back to
// the system and coming again page by page, until ReturnFreeMemory().
//
// Where the system has huge pages, tensors lie on them: there are more of the small ones
// than a processor remembers the places of.
//
// A program that trains calls it first in main(). Tensors that are there already
// keep their memory.
void KeepTensorsTogether();

// Gives the system back what no tensor needs.
void ReturnFreeMemory();

}  // namespace fedtune
