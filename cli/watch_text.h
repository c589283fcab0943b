// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <string>
#include <vector>

#include "proto/fedtune/v1/administration.pb.h"

namespace fedtune {

// A run under way as people watch it. Pure.

enum class Colour : bool { kNo, kYes };

// The live block of `--watch`, a few lines; redrawn in place on a terminal.
std::string WatchBlock(const v1::RunStatus& run, Colour colour);

// One line for a pipe: round, phase, who is awaited and how long, loss.
std::string WatchLine(const v1::RunStatus& run);

// What a watcher is to be told for good, not only until the next line: who has
// declined, failed, gone or come back between the two.
std::vector<std::string> WatchNews(const v1::RunStatus& before, const v1::RunStatus& now);

// How a run ended: the last line of a watch.
std::string EndText(const v1::RunStatus& run);

}  // namespace fedtune
