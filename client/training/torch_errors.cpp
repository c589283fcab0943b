// SPDX-License-Identifier: Apache-2.0

#include "client/training/torch_errors.h"

#include <exception>
#include <new>
#include <string_view>

#include "base/status.h"
#include "c10/util/Exception.h"
#include "fmt/format.h"

namespace fedtune {
namespace {

absl::Status OutOfMemory(const char* detail) {
  return absl::ResourceExhaustedError(fmt::format(
      "out of memory ({}); use smaller batches, shorter sequences, recompute = \"always\" in "
      "[training] of the client's configuration or a device with more memory",
      detail));
}

// Not all memory of a GPU is asked for by LibTorch's allocator, which says so with a
// type of its own: its libraries name the error.
bool NamesMemory(std::string_view message) {
  return message.find("out of memory") != std::string_view::npos ||
         message.find("ALLOC_FAILED") != std::string_view::npos;
}

}  // namespace

absl::Status StatusOfException() {
  try {
    throw;
  } catch (const c10::OutOfMemoryError& error) {
    return OutOfMemory(error.what_without_backtrace());
  } catch (const std::bad_alloc& error) {
    return OutOfMemory(error.what());
  } catch (const c10::Error& error) {
    if (NamesMemory(error.what_without_backtrace())) {
      return OutOfMemory(error.what_without_backtrace());
    }
    return absl::InternalError(fmt::format("LibTorch: {}", error.what_without_backtrace()));
  } catch (const std::exception& error) {
    return absl::InternalError(error.what());
  }
}

absl::Status WithStateOfGpu(const absl::Status& why, const absl::Status& gpu) {
  if (gpu.ok()) return why;
  return absl::AbortedError(fmt::format("the GPU is lost ({}): {}", Message(gpu), Message(why)));
}

}  // namespace fedtune
