// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <string>

namespace fedtune {

// What OpenSSL says about the call that just failed on this thread, and clears
// it: an error left behind would be taken for one of the next TLS connection.
// Every failed call that is not fatal ends here.
std::string TakeOpensslError();

}  // namespace fedtune
