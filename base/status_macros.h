// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

// Returns from the current function if `expr` is not OK.
#define RETURN_IF_ERROR(expr) \
  if (absl::Status status_ = (expr); !status_.ok()) return status_

// Evaluates `expr` (an absl::StatusOr<T>); on success moves its value into
// `lhs`, otherwise returns its status. Expands to several statements.
#define ASSIGN_OR_RETURN(lhs, expr) \
  ASSIGN_OR_RETURN_IMPL_(STATUS_CONCAT_(status_or_, __LINE__), lhs, expr)

#define STATUS_CONCAT_INNER_(a, b) a##b
#define STATUS_CONCAT_(a, b) STATUS_CONCAT_INNER_(a, b)
#define ASSIGN_OR_RETURN_IMPL_(result, lhs, expr)      \
  auto result = (expr);                                \
  if (!result.ok()) return std::move(result).status(); \
  lhs = *std::move(result)
