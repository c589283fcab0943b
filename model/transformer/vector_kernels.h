// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>

namespace fedtune {

// Functions over rows of fp32 values for the CPUs of HasMatrixKernels(), on this
// thread. Sums are added up in an order that depends on the row's length alone.

// hidden = silu(gate) * up.
void SwiGlu(const float* gate, const float* up, int64_t size, float* hidden);

// Given h_gradient, the derivative by `hidden` before `weight` was multiplied in,
// writes what SwiGlu() does to `hidden`, and over gate and up their gradients.
// Returns the derivative by `weight`, the sum of h_gradient * hidden.
float SwiGluBackward(const float* h_gradient, float weight, int64_t size, float* gate, float* up,
                     float* hidden);

// The same for CPUs of HasBf16Kernels() with rows in bf16, behind an odd number of which is a
// zero: gate and up are rounded before anything comes of them, and so are all results.
struct Bf16SwiGlu {
  uint16_t *gate, *up, *hidden;
};
void SwiGluInBf16(const float* gate, const float* up, int64_t size, const Bf16SwiGlu& rounded);
float SwiGluBackwardInBf16(const float* h_gradient, float weight, int64_t size,
                           const Bf16SwiGlu& rounded);

// y = x / sqrt(mean(x^2) + epsilon) * weight; returns what x was multiplied with
// before the weight.
float RmsNormRow(const float* x, const float* weight, double epsilon, int64_t size, float* y);

// The gradient of x, given what RmsNormRow() returned, and `added` to it unless that is null.
void RmsNormRowBackward(const float* y_gradient, const float* x, const float* weight,
                        float inverse_rms, int64_t size, const float* added, float* x_gradient);

// sum = x + y.
void AddRows(const float* x, const float* y, int64_t size, float* sum);

// The negative log-likelihood of `target` under softmax(logits), over which its
// derivatives are written.
double LossRow(float* logits, int64_t size, int64_t target);

// The softmax of scale * the first `seen` of the scores, in place; the others, up
// to `size`, become zero.
void SoftmaxRow(float* scores, int64_t seen, int64_t size, float scale);

// Given shares of SoftmaxRow(), the derivatives by them become those by the scores.
void SoftmaxRowBackward(const float* shares, int64_t size, float scale, float* gradients);

double SumOfSquares(const float* values, int64_t size);

// One step of AdamW: gradients are multiplied by `gradient`, values by `kept`; moments
// move by the shares `first` and `second` towards them and their squares, and the values
// by `step` * first moment / (sqrt(second moment) * `inverse_root` + `epsilon`). The
// gradients become zero.
struct AdamWFactors {
  float gradient, kept, first, second, inverse_root, epsilon, step;
};
struct AdamWValues {
  float *values, *gradients, *first, *second;
};
void StepAdamW(const AdamWFactors& factors, const AdamWValues& at, int64_t size);

// values *= factor.
void Scale(float factor, int64_t size, float* values);

// sum += factor * values.
void AddScaled(const float* values, float factor, int64_t size, float* sum);

// sum = that of the `count` rows of `values` with these indices, in their order, each times
// its weight, or 1 without weights, behind what it holds if they add to it. The rows `next`,
// as many, are read ahead, if given.
struct ChosenRows {
  const float* values;
  const int64_t* rows;
  const float* weights;
  const int64_t* next;
  int64_t count;
  bool add;
};
void SumOfRows(const ChosenRows& chosen, int64_t size, float* sum);

}  // namespace fedtune
