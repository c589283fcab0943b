// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <vector>

#include "ATen/core/Tensor.h"
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

}  // namespace fedtune
