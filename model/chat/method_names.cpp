// SPDX-License-Identifier: Apache-2.0

#include "model/chat/method_names.h"

#include <algorithm>
#include <iterator>

namespace fedtune {
namespace {

constexpr std::string_view kOfTexts[] = {
    "capitalize",   "casefold",    "center",    "count",      "encode",       "endswith",
    "expandtabs",   "find",        "format",    "format_map", "index",        "isalnum",
    "isalpha",      "isascii",     "isdecimal", "isdigit",    "isidentifier", "islower",
    "isnumeric",    "isprintable", "isspace",   "istitle",    "isupper",      "join",
    "ljust",        "lower",       "lstrip",    "maketrans",  "partition",    "removeprefix",
    "removesuffix", "replace",     "rfind",     "rindex",     "rjust",        "rpartition",
    "rsplit",       "rstrip",      "split",     "splitlines", "startswith",   "strip",
    "swapcase",     "title",       "translate", "upper",      "zfill"};
constexpr std::string_view kOfLists[] = {"append", "clear",  "copy", "count",  "extend",
                                         "index",  "insert", "pop",  "remove", "reverse",
                                         "sort",   "start",  "stop", "step"};
constexpr std::string_view kOfObjects[] = {"clear",  "copy",  "fromkeys", "get",        "items",
                                           "keys",   "pop",   "popitem",  "setdefault", "update",
                                           "values", "cycle", "changed"};
constexpr std::string_view kOfNumbers[] = {
    "as_integer_ratio", "bit_count", "bit_length", "conjugate", "denominator", "from_bytes", "imag",
    "is_integer",       "numerator", "real",       "to_bytes"};

}  // namespace

bool IsMethod(const TemplateValue& value, std::string_view name) {
  const auto is_one_of = [name](const auto& names) {
    return std::ranges::find(names, name) != std::end(names);
  };
  if (value.text() != nullptr) return is_one_of(kOfTexts);
  if (value.list() != nullptr) return is_one_of(kOfLists);
  if (value.object() != nullptr) return !value.is_namespace() && is_one_of(kOfObjects);
  const bool is_number = value.As<int64_t>() != nullptr || value.As<bool>() != nullptr;
  return is_number && is_one_of(kOfNumbers);
}

}  // namespace fedtune
