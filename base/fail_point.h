// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <array>
#include <string_view>

#include "absl/status/status.h"

// Moments at which a test ends a program, or lets one call of it fail, from outside:
//
//   FEDTUNE_FAIL_POINT=journal-append-before@3:kill fedtune-coordinator serve ...
//
// is killed (SIGKILL) when it is about to append to a journal for the third time;
// without a number, the first time. `error` in place of `kill` makes that one call
// fail as on a full disk, where the table says that it can. More than one, divided
// by commas, may be given. They exist in builds with FEDTUNE_FAIL_POINTS only, never
// in what is deployed: there the calls below are nothing, and nobody reads the
// variable.
namespace fedtune {

enum class FailPoint {
  kAssignmentPush,
  kBlobWriteBefore,
  kBlobWriteAfter,
  kCheckpointStoreBefore,
  kCheckpointStoreAfter,
  kClientsSaveBefore,
  kClientsSaveAfter,
  kFileSync,
  kFileRename,
  kFileRenamed,
  kInvitationPush,
  kJournalAppendBefore,
  kJournalAppendAfter,
  kJournalOpenBefore,
  kJournalOpenAfter,
  kReleaseBefore,
  kReleaseCommit,
  kReleaseAfter,
  kReplySend,
  kResultStoreBefore,
  kResultStoreAfter,
  kRoundClosingPush,
  kRunEndBefore,
  kRunEndAfter,
  kRunEndPush,
  kRunInsertBefore,
  kRunInsertAfter,
  kSecureMessagePush,
  kSecureMessageSend,
  kSeenLogBefore,
  kSeenLogAfter,
  kSessionAppendBefore,
  kSessionAppendAfter,
  kSessionBeginBefore,
  kSessionBeginAfter,
  kSessionCloseBefore,
  kSessionCloseAfter,
  kSpoolCreate,
  kSpoolWrite,
  kSpoolSync,
  kSpoolKept,
  kUploadAcknowledge,
  kUploadChunk,
  kUploadTaken,
};

struct FailPointEntry {
  FailPoint point;
  std::string_view name;
  std::string_view file;  // The only one in which it is reached.
  bool can_fail;
};

// In the order of the enumeration. tests/tidy/fail_points.py compares it with the code.
// clang-format off
inline constexpr std::array kFailPoints = {
    FailPointEntry{FailPoint::kAssignmentPush, "assignment-push", "coordinator/driver/run_messages.cpp", false},
    FailPointEntry{FailPoint::kBlobWriteBefore, "blob-write-before", "coordinator/storage/blob_store.cpp", true},
    FailPointEntry{FailPoint::kBlobWriteAfter, "blob-write-after", "coordinator/storage/blob_store.cpp", false},
    FailPointEntry{FailPoint::kCheckpointStoreBefore, "checkpoint-store-before", "client/round/round_keeper.cpp", false},
    FailPointEntry{FailPoint::kCheckpointStoreAfter, "checkpoint-store-after", "client/round/round_keeper.cpp", false},
    FailPointEntry{FailPoint::kClientsSaveBefore, "clients-save-before", "coordinator/storage/sqlite_run_store.cpp", true},
    FailPointEntry{FailPoint::kClientsSaveAfter, "clients-save-after", "coordinator/storage/sqlite_run_store.cpp", false},
    FailPointEntry{FailPoint::kFileSync, "file-sync", "base/file_writer.cpp", true},
    FailPointEntry{FailPoint::kFileRename, "file-rename", "base/file_writer.cpp", true},
    FailPointEntry{FailPoint::kFileRenamed, "file-renamed", "base/file_writer.cpp", false},
    FailPointEntry{FailPoint::kInvitationPush, "invitation-push", "coordinator/driver/run_messages.cpp", false},
    FailPointEntry{FailPoint::kJournalAppendBefore, "journal-append-before", "coordinator/storage/sqlite_run_course.cpp", true},
    FailPointEntry{FailPoint::kJournalAppendAfter, "journal-append-after", "coordinator/storage/sqlite_run_course.cpp", false},
    FailPointEntry{FailPoint::kJournalOpenBefore, "journal-open-before", "coordinator/storage/sqlite_run_course.cpp", true},
    FailPointEntry{FailPoint::kJournalOpenAfter, "journal-open-after", "coordinator/storage/sqlite_run_course.cpp", false},
    FailPointEntry{FailPoint::kReleaseBefore, "release-before", "coordinator/storage/sqlite_run_release.cpp", true},
    FailPointEntry{FailPoint::kReleaseCommit, "release-commit", "coordinator/storage/sqlite_run_release.cpp", true},
    FailPointEntry{FailPoint::kReleaseAfter, "release-after", "coordinator/storage/sqlite_run_release.cpp", false},
    FailPointEntry{FailPoint::kReplySend, "reply-send", "client/round/client_daemon.cpp", false},
    FailPointEntry{FailPoint::kResultStoreBefore, "result-store-before", "client/round/round_keeper.cpp", false},
    FailPointEntry{FailPoint::kResultStoreAfter, "result-store-after", "client/round/round_keeper.cpp", false},
    FailPointEntry{FailPoint::kRoundClosingPush, "round-closing-push", "coordinator/driver/run_messages.cpp", false},
    FailPointEntry{FailPoint::kRunEndBefore, "run-end-before", "coordinator/storage/sqlite_run_course.cpp", true},
    FailPointEntry{FailPoint::kRunEndAfter, "run-end-after", "coordinator/storage/sqlite_run_course.cpp", false},
    FailPointEntry{FailPoint::kRunEndPush, "run-end-push", "coordinator/driver/run_messages.cpp", false},
    FailPointEntry{FailPoint::kRunInsertBefore, "run-insert-before", "coordinator/storage/sqlite_run_store.cpp", true},
    FailPointEntry{FailPoint::kRunInsertAfter, "run-insert-after", "coordinator/storage/sqlite_run_store.cpp", false},
    FailPointEntry{FailPoint::kSecureMessagePush, "secure-message-push", "coordinator/driver/run_messages.cpp", false},
    FailPointEntry{FailPoint::kSecureMessageSend, "secure-message-send", "client/round/secure_submission.cpp", false},
    FailPointEntry{FailPoint::kSeenLogBefore, "seen-log-before", "client/round/seen_log.cpp", true},
    FailPointEntry{FailPoint::kSeenLogAfter, "seen-log-after", "client/round/seen_log.cpp", false},
    FailPointEntry{FailPoint::kSessionAppendBefore, "session-append-before", "client/storage/session_journal.cpp", true},
    FailPointEntry{FailPoint::kSessionAppendAfter, "session-append-after", "client/storage/session_journal.cpp", false},
    FailPointEntry{FailPoint::kSessionBeginBefore, "session-begin-before", "client/storage/session_journal.cpp", true},
    FailPointEntry{FailPoint::kSessionBeginAfter, "session-begin-after", "client/storage/session_journal.cpp", false},
    FailPointEntry{FailPoint::kSessionCloseBefore, "session-close-before", "client/storage/session_journal.cpp", true},
    FailPointEntry{FailPoint::kSessionCloseAfter, "session-close-after", "client/storage/session_journal.cpp", false},
    FailPointEntry{FailPoint::kSpoolCreate, "spool-create", "coordinator/storage/spool.cpp", true},
    FailPointEntry{FailPoint::kSpoolWrite, "spool-write", "coordinator/storage/spool.cpp", true},
    FailPointEntry{FailPoint::kSpoolSync, "spool-sync", "coordinator/storage/spool.cpp", true},
    FailPointEntry{FailPoint::kSpoolKept, "spool-kept", "coordinator/storage/spool.cpp", false},
    FailPointEntry{FailPoint::kUploadAcknowledge, "upload-acknowledge", "coordinator/rpc/contribution_upload.cpp", false},
    FailPointEntry{FailPoint::kUploadChunk, "upload-chunk", "client/transport/transfers.cpp", false},
    FailPointEntry{FailPoint::kUploadTaken, "upload-taken", "client/transport/transfers.cpp", false},
};
// clang-format on

#ifdef FEDTUNE_FAIL_POINTS

// Reads the variable; without it no point is armed. A name or an action that does
// not exist ends the program with exit code 2, and with a list of all there are.
// For main(), before there are threads.
void ArmFailPoints();

// Ends the program if the point is armed with `kill` and this is its turn. Thread-safe.
void ReachFailPoint(FailPoint point);

// Likewise; RESOURCE_EXHAUSTED if it is armed with `error` and this is its turn.
absl::Status CheckFailPoint(FailPoint point);

#else

inline void ArmFailPoints() {}
inline void ReachFailPoint(FailPoint) {}
inline absl::Status CheckFailPoint(FailPoint) { return absl::OkStatus(); }

#endif

}  // namespace fedtune
