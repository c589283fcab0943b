// SPDX-License-Identifier: Apache-2.0

#include "client/round/messages.h"

namespace fedtune {

std::string_view ToString(WorkPhase phase) {
  switch (phase) {
    case WorkPhase::kDownloading:
      return "downloading";
    case WorkPhase::kEvaluating:
      return "evaluating";
    case WorkPhase::kTraining:
      return "training";
    case WorkPhase::kUploading:
      return "uploading";
    case WorkPhase::kWaiting:
      return "waiting";
  }
  return "unknown";
}

}  // namespace fedtune
