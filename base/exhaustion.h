// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>

namespace fedtune {

// From here on a process which has no memory, or which cannot start a thread, and where
// nobody catches that, ends with "error: ..." on stderr and ExitCode::kFailed, without a
// core file, as a kill would end it: nothing is destroyed.
void ExplainExhaustion();

// The same with the first memory that `new` does not get, whoever would catch that: for
// programs with libraries that go on after it as if nothing had been.
void EndWithoutMemory();

// Ends the process that way unless it may use as much address space as `least_bytes`:
// libraries of ours wait for ever for a thread that could not be started.
void RequireAddressSpace(uint64_t least_bytes);

// Lets the process open as many files as the system allows, not as many as a shell's
// default of 1,024: every connection takes one.
void AllowManyFiles();

}  // namespace fedtune
