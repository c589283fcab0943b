// SPDX-License-Identifier: Apache-2.0

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "client/data/dataset.h"
#include "client/data/lines.h"
#include "client/data/prompt_template.h"

namespace {

// What RenderPlain() promises: prompts and answers by turns, none empty.
absl::Status CheckRendering(const fedtune::DatasetRecord& record) {
  bool answer_expected = false;
  for (const fedtune::PromptSegment& segment : fedtune::RenderPlain(record)) {
    fedtune::Check(segment.is_answer == answer_expected && !segment.text.empty(), "segments");
    answer_expected = !answer_expected;
  }
  fedtune::Check(!answer_expected, "ends with a prompt");
  return absl::OkStatus();
}

}  // namespace

// Every line that is not blank is either used or rejected with a reason.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  int64_t lines = 0;
  fedtune::LineSplitter splitter([&lines](const fedtune::Line&) { ++lines; });
  splitter.Feed(text);
  splitter.Finish();
  const auto report = fedtune::ReadDatasetText(text, "input", CheckRendering);
  if (!report.ok()) return 0;
  fedtune::Check(report->used >= 1 && report->used + report->rejected <= lines, "lines counted");
  for (const fedtune::Rejection& rejection : report->rejections) {
    fedtune::Check(rejection.line >= 1 && rejection.line <= lines, "line number");
    fedtune::Check(!rejection.reason.empty(), "reason");
  }
  fedtune::Describe(*report, "input");
  return 0;
}
