// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <vector>

#include "ATen/core/Tensor.h"
#include "c10/util/complex.h"
#include "model/checkpoint/model_config.h"

namespace fedtune {

// Radians per position of each pair of a rotary part of `dimension` values,
// after the scaling that the model has.
std::vector<float> RotaryFrequencies(const RopeConfig& rope, int64_t dimension);

// The rotation of each row: complex, [rows, dimension / 2]. `positions` and
// `frequencies` lie on the device where the rotation is wanted.
at::Tensor Rotations(const at::Tensor& positions, const at::Tensor& frequencies, double factor);

// Rotates in place: each pair of the last dimension of x, [rows, heads, dimension],
// is the real and imaginary part of a complex number. Not differentiable by itself:
// the gradient is rotated back with the conjugate of `rotations`.
void RotateInPlace(at::Tensor x, const at::Tensor& rotations, RotaryPairs pairs);

// The same for rows of one head in memory, on this thread.
struct HeadToRotate {
  float* values;
  int64_t stride;  // From one row to the next.
  int64_t rows;
};
// The rotations of its rows, one behind the other, of `half` pairs each.
void RotateHead(const HeadToRotate& head, const c10::complex<float>* turns, int64_t half,
                RotaryPairs pairs);

}  // namespace fedtune
