// SPDX-License-Identifier: Apache-2.0

#include "base/exhaustion.h"

#include <sys/resource.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <exception>
#include <new>
#include <string>
#include <system_error>

#include "base/exit_code.h"
#include "base/units.h"
#include "fmt/format.h"

namespace fedtune {
namespace {

// Needs no memory.
[[noreturn]] void EndFor(const char* why) {
  constexpr char kAdvice[] =
      "; give this program more, or raise its limits (ulimit -v and -u, LimitAS=, TasksMax=). "
      "What it has stored is there when it is started again\n";
  for (const char* part : {"error: ", why, kAdvice}) {
    if (::write(STDERR_FILENO, part, std::strlen(part)) < 0) break;
  }
  std::_Exit(static_cast<int>(ExitCode::kFailed));
}

[[noreturn]] void EndForMemory() { EndFor("out of memory"); }

[[noreturn]] void EndForWhatNobodyCaught() {
  if (std::current_exception() == nullptr) std::abort();
  try {
    throw;
  } catch (const std::bad_alloc&) {
    EndForMemory();
  } catch (const std::system_error& error) {
    if (error.code() != std::errc::resource_unavailable_try_again) std::abort();
    EndFor("no thread can be started: there is no memory for it, or there are too many");
  } catch (...) {
    std::abort();
  }
}

}  // namespace

void ExplainExhaustion() { std::set_terminate(EndForWhatNobodyCaught); }

void EndWithoutMemory() { std::set_new_handler(EndForMemory); }

void RequireAddressSpace(uint64_t least_bytes) {
  rlimit limit{};
  if (::getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_cur >= least_bytes) return;
  const std::string why =
      fmt::format("this process may use {} of address space, and needs {} at least",
                  HumanBytes(limit.rlim_cur), HumanBytes(least_bytes));
  EndFor(why.c_str());
}

void AllowManyFiles() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

}  // namespace fedtune
