#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A coordinator, and a client, whose state directory is a real file system, and full.

    full_disk_test.py PROGRAMS_DIR
"""

import errno
import os
import subprocess
import sys
import tempfile
import time
import unittest

from federation import BASE_MODEL, EAGER, SITES, Federation, patient, secure_plan, small_plan

PROGRAMS = sys.argv.pop(1)
CLIENTS = SITES[:2]
SIZE = "64m"


def plan(seed=7, deadline_s=300):
    """Contributions of 4.4 MiB: they go to the spool's files as they come."""
    return f'''
name = "icd10"
base_model = "{BASE_MODEL}"
[adapter]
rank = 128
targets = ["attention", "dense_mlp", "shared_experts"]
[training]
steps = 2
batch_size = 1
learning_rate = 1e-3
sequence_length = 128
truncate_prompts = true
seed = {seed}
[rounds]
count = 3
quorum = 2
deadline = "{patient(deadline_s)}s"
[aggregation]
mode = "plain"
method = "fedit"
'''


class SmallDisk(unittest.TestCase):
    """One of the federation has a file system of its own, of 64 MiB."""

    def make_federation(self, whose):
        """Mounts it, and starts nobody yet."""
        folder = self.enterContext(tempfile.TemporaryDirectory(prefix="fedtune-"))
        self.federation = Federation(PROGRAMS, folder)
        self.federation.make_authority()
        self.state = self.federation.folder / whose
        self.state.mkdir()
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", self.state],
                                 capture_output=True, text=True, check=False)
        if mounted.returncode != 0:
            self.skipTest(f"this user may not mount a file system: {mounted.stderr.strip()}")
        self.addCleanup(subprocess.run, ["umount", self.state], check=True)
        self.enterContext(self.federation)  # Its processes end before the file system goes.

    def fill(self, leave=0):
        """Takes all of the space but this many bytes, and returns the file that has it."""
        ballast = self.state / "ballast"
        with open(ballast, "wb") as file:
            while not self.take_all(file, leave):
                pass
        return ballast

    def take_all(self, file, leave):
        """False if somebody has written something meanwhile."""
        free = os.statvfs(self.state).f_bavail * os.statvfs(self.state).f_bsize
        try:
            os.posix_fallocate(file.fileno(), 0, free - leave)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            return False
        return True


class FullDiskTest(SmallDisk):
    """It is the coordinator's."""

    def setUp(self):
        self.make_federation("coordinator")
        self.federation.issue("coordinator", "hub", self.state / "keys")
        self.federation.start_coordinator()
        for name in CLIENTS:
            self.federation.start_client(name)
        self.federation.wait_for_clients(len(CLIENTS))

    def test_a_run_waits_for_space_and_goes_on_by_itself(self):
        undisturbed = self.federation.wait_for_end(self.federation.start_run(plan()))
        self.assertEqual(undisturbed["state"], "finished", undisturbed["reason"])

        ballast = self.fill(leave=1 << 20)
        other = self.federation.folder / "other.toml"
        other.write_text(plan(seed=8))
        refused = self.federation.fedtune("run", "start", other, expect=1)
        self.assertIn("disk full", refused.stderr)  # Its adapter has no room.
        ballast.unlink()

        run = self.federation.start_run(plan())
        ballast = self.fill(leave=6 << 20)  # For the database, and one contribution at most.
        self.federation.wait_until("the log to tell of it", lambda: (
            "disk full" in self.federation.log("coordinator").partition(run)[2]))
        self.assertEqual(self.federation.run_state(run)["state"], "running")
        ballast.unlink()
        state = self.federation.wait_for_end(run)
        self.assertEqual(state["state"], "finished", state["reason"])
        self.assertEqual([r["contributions"] for r in state["rounds"]], [2] * 3)
        self.assertEqual(state["adapter"], undisturbed["adapter"])
        self.assertIsNone(self.federation.processes["coordinator"].poll())

    def test_no_deadline_comes_while_nothing_can_be_kept(self):
        run = self.federation.start_run(plan(deadline_s=30))
        ballast = self.fill(leave=3 << 20)  # For the database, and no contribution.
        self.federation.wait_until("both to have offered theirs", lambda: all(
            "contribution not taken yet" in self.federation.log(name) for name in CLIENTS))
        shown = self.federation.fedtune("run", "show", run).stdout
        self.assertRegex(shown, "waits +disk full")
        left = self.federation.run_state(run)["time_left_ms"] / 1000
        self.assert_goes_on_for(run, left + patient(2))
        ballast.unlink()
        state = self.federation.wait_for_end(run)
        self.assertEqual(state["state"], "finished", state["reason"])
        self.assertEqual([(r["contributions"], r["attempts"]) for r in state["rounds"]],
                         [(2, 1)] * 3)

    def assert_goes_on_for(self, run, seconds):
        """It is the first attempt at its first round that does."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            state = self.federation.run_state(run)
            self.assertEqual((state["state"], state["rounds_done"], state["attempt"]),
                             ("running", 0, 1), state["reason"])
            time.sleep(0.5)


class ClientsFullDiskTest(SmallDisk):
    """It is an institution's."""

    def test_its_rounds_wait_for_space_and_go_on_by_themselves(self):
        self.make_federation(CLIENTS[0])
        self.federation.start_coordinator()
        for name in CLIENTS:
            self.federation.start_client(name, keys=EAGER)
        self.federation.wait_for_clients(len(CLIENTS))
        undisturbed = self.federation.wait_for_end(self.federation.start_run(small_plan(count=4)))

        run = self.federation.start_run(small_plan(count=4))
        self.federation.wait_until("a round", lambda: (
            self.federation.run_state(run)["rounds_done"] > 0))
        ballast = self.fill()
        self.federation.wait_until("it to wait", lambda: self.waits(run))
        rounds_done = self.federation.run_state(run)["rounds_done"]
        end = time.monotonic() + 12  # It has tried more than once.
        while time.monotonic() < end:
            state = self.federation.run_state(run)
            self.assertEqual((state["state"], state["rounds_done"], state["attempt"]),
                             ("running", rounds_done, 1), state["reason"])
            time.sleep(0.5)
        ballast.unlink()
        state = self.federation.wait_for_end(run)
        self.assertEqual(state["state"], "finished", state["reason"])
        self.assertEqual([(r["contributions"], r["attempts"]) for r in state["rounds"]],
                         [(2, 1)] * 4)
        self.assertEqual(state["adapter"], undisturbed["adapter"])

    def test_its_secure_rounds_go_on_without_it_until_there_is_space(self):
        names = [*SITES, "general-clinic", "trauma-centre"]
        self.make_federation(CLIENTS[0])
        self.federation.sign_roster(names)
        self.federation.start_coordinator()
        for name in names:
            self.federation.start_client(name, "min_cohort = 4\n", keys=EAGER)
        self.federation.wait_for_clients(len(names))

        run = self.federation.start_run(secure_plan(count=6, steps=8, deadline_s=20))
        self.federation.wait_until("its training", lambda: (
            self.federation.has_trained(CLIENTS[0])))
        ballast = self.fill()
        begin = len(self.federation.log(CLIENTS[0]))
        self.federation.wait_until("a round without it", lambda: any(
            r["contributions"] == 4 for r in self.federation.run_state(run)["rounds"]))
        self.assertIn("disk full", self.federation.log(CLIENTS[0])[begin:])
        ballast.unlink()
        state = self.federation.wait_for_end(run)
        self.assertEqual(state["state"], "finished", state["reason"])
        self.assertEqual(state["rounds"][-1]["contributions"], 5)
        self.assertEqual({r["attempts"] for r in state["rounds"]}, {1})

    def waits(self, run):
        """Whether the administrator sees that the institution does, and why."""
        return any(client["institution"] == CLIENTS[0] and client["state"] == "waiting"
                   and "disk full" in client["reason"]
                   for client in self.federation.run_state(run)["clients"])


if __name__ == "__main__":
    unittest.main(verbosity=2)
