// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <google/protobuf/message.h>

namespace fedtune {

// Makes every string in `message`, and in the messages inside it, one that may
// be shown on a terminal (PrintableText()). Bytes fields stay as they are.
void MakePrintable(google::protobuf::Message& message);

}  // namespace fedtune
