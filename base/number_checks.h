// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>

#include "CLI/CLI.hpp"

namespace fedtune {

// Checks of options that take a number. Unlike CLI11's own they refuse what is not a
// number and whole numbers that overflow, which those take for the nearest.

// A whole number from `least` to `most`.
CLI::Validator WholeNumber(int64_t least, int64_t most);

// Where equal seeds are to give equal results: as in plans, a whole number from 0 on.
CLI::Validator Seed();

// A number above 0 and at most `most`.
CLI::Validator PositiveNumber(double most);

// A number from `least` to `most`.
CLI::Validator NumberFrom(double least, double most);

}  // namespace fedtune
