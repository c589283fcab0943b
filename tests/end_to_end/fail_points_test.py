#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Kills the coordinator and a client at every fail point, and compares what comes out.

    fail_points_test.py PROGRAMS_DIR [CLASS ...]

One point after the other in the same run: whoever was killed is started again with the
next point armed. base/fail_point.h lists them.
"""

import array
import json
import re
import sys
import tempfile
import unittest

from federation import BASE_MODEL, EAGER, ROOT, SITES, Failed, Federation, patient

PROGRAMS = sys.argv.pop(1)
VICTIM = SITES[0]

LISTED = set(re.findall(r'FailPointEntry\{FailPoint::\w+, "([\w-]+)"',
                        (ROOT / "base/fail_point.h").read_text(encoding="utf-8")))

# Of the coordinator, in the order in which a run comes by.
AT_THE_START = ["run-insert-before", "run-insert-after"]
IN_ROUNDS = ["invitation-push", "clients-save-before", "clients-save-after", "journal-open-before",
             "journal-open-after", "assignment-push", "assignment-push@2", "spool-create",
             "spool-write", "spool-sync", "spool-kept", "journal-append-before",
             "journal-append-after", "journal-append-before@3", "upload-acknowledge",
             "upload-acknowledge@2", "release-before", "release-commit", "release-after"]
AT_THE_END = ["run-end-before", "run-end-after"]
TELLING_OF_THE_END = ["run-end-push"]
OF_LARGE_ONES = ["blob-write-before", "blob-write-after", "spool-write@20"]
OF_SECURE_ONES = ["secure-message-push", "secure-message-push@4", "secure-message-push@8",
                  "secure-message-push@11"]

OF_STRAGGLERS = ["round-closing-push"]

# Calls that fail once, as on a full disk, all in one run.
FAILING = ["journal-open-before@2", "spool-create", "release-commit@4"]
SECURE_FAILING = ["journal-append-before@4", "spool-write@5", "spool-sync@7", "clients-save-before"]
CLIENT_FAILING = ["file-sync@3", "file-rename@7"]
CLIENT_SECURE_FAILING = ["session-begin-before@2", "session-append-before@9",
                         "session-close-before@3"]

# Of a client.
CLIENT = ["seen-log-before", "seen-log-after", "reply-send", "checkpoint-store-before",
          "checkpoint-store-after", "file-sync", "file-rename", "file-renamed",
          "result-store-before", "result-store-after", "upload-chunk", "upload-taken"]
CLIENT_LARGE = ["upload-chunk@4"]
CLIENT_SECURE = ["session-begin-before", "session-begin-after", "session-append-before",
                 "session-append-after", "session-append-before@3", "session-append-after@4",
                 "session-append-before@6", "session-close-before", "session-close-after",
                 "session-close-before@2", "secure-message-send", "secure-message-send@2",
                 "secure-message-send@3", "secure-message-send@4"]


def plan(mode, clients, rounds=1, rank=4, targets='"attention"'):
    """Rounds of a moment each, in which everyone is needed."""
    secure = f'[secure]\nmin_cohort = {clients}\nphase_deadline = "{patient(60)}s"\n'
    return f'''
name = "icd10"
base_model = "{BASE_MODEL}"
[adapter]
rank = {rank}
targets = [{targets}]
[training]
steps = 2
batch_size = 1
learning_rate = 1e-3
optimizer = "sgd"
sequence_length = 128
truncate_prompts = true
seed = 7
[rounds]
count = {rounds}
quorum = {clients}
deadline = "{patient(120)}s"
[aggregation]
mode = "{mode}"
method = "fedit"
{secure if mode == "secure" else ""}
'''


class Gauntlet(unittest.TestCase):
    """A federation whose processes are killed at one point after the other."""

    MODE = "plain"
    NAMES = SITES[:2]
    RANK = 4
    TARGETS = '"attention"'
    ROUNDS = 60

    def setUp(self):
        folder = self.enterContext(tempfile.TemporaryDirectory(prefix="fedtune-"))
        self.federation = self.enterContext(Federation(PROGRAMS, folder))
        self.federation.make_authority()
        self.federation.sign_roster(self.NAMES)
        self.federation.start_coordinator()
        for name in self.NAMES:
            self.start_client(name)
        self.federation.wait_for_clients(len(self.NAMES))

    def start_client(self, name, fail_point=""):
        self.federation.start_client(name, "min_cohort = 3\n" if self.MODE == "secure" else "",
                                     keys=EAGER, fail_point=fail_point)

    def restart_coordinator(self, point=""):
        self.federation.start_coordinator(self.federation.address,
                                          f"{point}:kill" if point else "")

    def failing_calls(self, points, client_points):
        """A run in which these calls of the coordinator and of a client fail once each; what
        became of it."""
        self.federation.stop("coordinator")
        self.federation.stop(VICTIM)
        self.federation.start_coordinator(self.federation.address,
                                          ",".join(f"{point}:error" for point in points))
        self.start_client(VICTIM, ",".join(f"{point}:error" for point in client_points))
        self.federation.wait_for_clients(len(self.NAMES))
        return self.finish(self.federation.start_run(self.plan()))

    def plan(self, mode=None):
        return plan(mode or self.MODE, len(self.NAMES), self.ROUNDS, self.RANK,
                    self.TARGETS)

    def finish(self, run):
        """Waits for a run's good end: everyone counted in every round, in its first attempt."""
        state = self.federation.wait_for_end(run)
        self.assertEqual(state["state"], "finished", state["reason"])
        self.assertEqual([r["contributions"] for r in state["rounds"]],
                         [len(self.NAMES)] * self.ROUNDS)
        self.assertEqual([r["attempts"] for r in state["rounds"]], [1] * self.ROUNDS,
                         self.federation.logs())
        return state

    def runs(self):
        """The runs there are, the newest first."""
        out = self.federation.fedtune("run", "list", "--json").stdout
        return [json.loads(line)["run_id"] for line in out.splitlines()]

    # ---- The coordinator ----

    def ask_for_a_run_and_be_killed(self, point):
        """The administrator hears of no answer."""
        self.restart_coordinator(point)
        self.federation.wait_for_clients(len(self.NAMES))
        with self.assertRaises(Failed):
            self.federation.start_run(self.plan())
        self.federation.wait_until_killed("coordinator")

    def killed_coordinator(self, points):
        """A run whose coordinator is killed at each of the points; what became of it."""
        before = self.runs()
        self.federation.kill("coordinator")
        for point in AT_THE_START:
            self.ask_for_a_run_and_be_killed(point)
        for point in points:
            self.restart_coordinator(point)
            self.federation.wait_until_killed("coordinator")
        self.restart_coordinator()
        self.federation.wait_for_clients(len(self.NAMES))
        # What was killed before the run was stored has no part in this.
        [run] = [run for run in self.runs() if run not in before]
        return self.finish(run)

    # ---- A client ----

    def killed_client(self, points):
        """A run whose victim is killed at each of the points; what became of it."""
        run = self.federation.start_run(self.plan())
        self.federation.kill(VICTIM)
        for point in points:
            self.start_client(VICTIM, f"{point}:kill")
            self.federation.wait_until_killed(VICTIM)
        self.start_client(VICTIM)
        return self.finish(run)


class PlainGauntlet(Gauntlet):
    """What is summed is the same to the bit."""

    def test_no_kill_changes_a_byte(self):
        undisturbed = self.finish(self.federation.start_run(self.plan()))["adapter"]
        killed = self.killed_coordinator(IN_ROUNDS + AT_THE_END)
        self.assertEqual(killed["adapter"], undisturbed)
        killed = self.killed_coordinator(TELLING_OF_THE_END)
        self.assertEqual(killed["adapter"], undisturbed)
        killed = self.killed_client(CLIENT)
        self.assertEqual(killed["adapter"], undisturbed)
        failing = self.failing_calls(FAILING, CLIENT_FAILING)
        self.assertEqual(failing["adapter"], undisturbed)


class LargeGauntlet(Gauntlet):
    """The same with contributions and adapters in files, in pieces."""

    RANK = 128
    TARGETS = '"attention", "dense_mlp", "shared_experts"'
    ROUNDS = 8

    def test_no_kill_changes_a_byte(self):
        undisturbed = self.finish(self.federation.start_run(self.plan()))["adapter"]
        killed = self.killed_coordinator(OF_LARGE_ONES)
        self.assertEqual(killed["adapter"], undisturbed)
        killed = self.killed_client(CLIENT_LARGE)
        self.assertEqual(killed["adapter"], undisturbed)


class SecureGauntlet(Gauntlet):
    """A sum whose masks are not all gone is noise as large as the ring; one that is right
    differs from a plain run's in steps of the quantiser, drawn anew for every session."""

    MODE = "secure"
    NAMES = SITES[:3]
    ROUNDS = 40

    def values(self, run):
        """The values of a run's adapter."""
        folder = self.federation.folder / run["run_id"]
        self.federation.fedtune("model", "pull", run["run_id"], "--format", "peft",
                                "--out", folder)
        content = (folder / "adapter_model.safetensors").read_bytes()
        values = array.array("f")
        values.frombytes(content[8 + int.from_bytes(content[:8], "little"):])
        return values

    def test_no_kill_leaves_a_mask_or_a_client_out(self):
        plain = self.values(self.finish(self.federation.start_run(self.plan("plain"))))
        runs = [self.killed_coordinator(IN_ROUNDS + OF_SECURE_ONES + AT_THE_END),
                self.killed_client(CLIENT + CLIENT_SECURE),
                self.failing_calls(SECURE_FAILING, CLIENT_FAILING + CLIENT_SECURE_FAILING)]
        for run in runs:
            worst = max(abs(mine - theirs)
                        for mine, theirs in zip(self.values(run), plain, strict=True))
            self.assertGreater(worst, 0)
            self.assertLess(worst, 1e-4)


class OtherFailPoints(Gauntlet):
    """What no undisturbed run comes by, and whether all points are tried."""

    def test_a_round_is_closed_without_a_straggler_once(self):
        self.federation.kill("coordinator")
        self.restart_coordinator(*OF_STRAGGLERS)
        self.federation.wait_for_clients(2)
        long_round = plan("plain", 1).replace("steps = 2", "steps = 100")
        run = self.federation.start_run(
            long_round.replace(f'deadline = "{patient(120)}s"', f'deadline = "{patient(12)}s"'))
        self.federation.wait_until("a step", lambda: self.federation.has_trained(VICTIM))
        with self.federation.standing_still(VICTIM):
            self.federation.wait_until_killed("coordinator")
            self.restart_coordinator()
            state = self.federation.wait_for_end(run)
        self.assertEqual(state["state"], "finished", state["reason"])
        self.assertEqual([r["contributions"] for r in state["rounds"]], [1])

    def test_every_point_is_tried(self):
        tried = (AT_THE_START + IN_ROUNDS + AT_THE_END + TELLING_OF_THE_END + OF_LARGE_ONES
                 + OF_SECURE_ONES + CLIENT + CLIENT_LARGE + CLIENT_SECURE + OF_STRAGGLERS)
        self.assertEqual({point.partition("@")[0] for point in tried}, LISTED)


if __name__ == "__main__":
    unittest.main(verbosity=2)
