#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A coordinator that takes back what its log has said.

    refused_log_test.py PROGRAMS_DIR
"""

import shutil
import sys
import tempfile
import unittest

from federation import SITES, Federation, small_plan

PROGRAMS = sys.argv.pop(1)
CLIENTS = SITES[:2]


class RefusedLogTest(unittest.TestCase):
    """Institutions that have seen the coordinator's log."""

    def setUp(self):
        folder = self.enterContext(tempfile.TemporaryDirectory(prefix="fedtune-"))
        self.federation = self.enterContext(Federation(PROGRAMS, folder))
        self.federation.make_authority()
        self.federation.start_coordinator()
        self.state = self.federation.folder / "coordinator"

    def start_clients(self, names):
        for name in names:
            self.federation.start_client(name)
        self.federation.wait_for_clients(len(names))

    def finish_a_run(self, seed):
        run = self.federation.start_run(small_plan(count=2, seed=seed))
        return self.finished(self.federation.wait_for_end(run))

    def finished(self, state):
        self.assertEqual(state["state"], "finished", state["reason"])
        self.assertEqual([r["contributions"] for r in state["rounds"]][-1], 2)
        return state

    def wait_until_refused(self, name):
        """Waits until it refuses the log, and returns why, as its log lines have it."""
        self.federation.wait_until(
            f"{name} refuses", lambda: self.federation.of_log(name, "show")["refused"])
        log = self.federation.log(name)
        self.assertIn(" error the coordinator's log is refused ", log)
        return log

    def restart_in(self, state):
        """Another state directory takes the coordinator's place."""
        self.federation.stop("coordinator")
        self.state.rename(self.federation.folder / f"before-{state.name}")
        state.rename(self.state)
        self.federation.start_coordinator(listen=self.federation.address)

    def set_back(self, backup):
        """The coordinator is restored from a backup, and starts again."""
        restored = self.federation.folder / "restored"
        self.federation.run("fedtune-coordinator", "restore", "--from", backup, "--state-dir",
                            restored)
        shutil.copytree(self.state / "keys", restored / "keys", dirs_exist_ok=True)
        self.restart_in(restored)

    def back_up(self):
        return self.federation.run(
            "fedtune-coordinator", "backup", "--state-dir", self.state, "--backup-dir",
            self.federation.folder / "backups").stdout.strip()

    def test_a_run_waits_until_the_log_of_a_restored_coordinator_is_accepted(self):
        self.start_clients(CLIENTS)
        run = self.federation.start_run(small_plan(count=30, seed=1))
        self.federation.wait_until(
            "a round", lambda: self.federation.run_state(run)["rounds_done"] >= 1)
        backup = self.back_up()
        seen = self.federation.run_state(run)["rounds_done"]
        self.federation.wait_until(
            "some more", lambda: self.federation.run_state(run)["rounds_done"] >= seen + 3)
        self.set_back(backup)
        for name in CLIENTS:
            self.assertIn("was rolled back: it had ", self.wait_until_refused(name))
        ended = self.finished(self.federation.accept_restored_log(run, CLIENTS))
        self.assertEqual(ended["rounds_done"], 30)

    def test_all_refuse_at_once_also_where_nothing_is_asked_of_them(self):
        self.start_clients(CLIENTS)
        self.finish_a_run(seed=1)
        backup = self.back_up()
        self.finish_a_run(seed=2)
        seen = self.federation.of_log(CLIENTS[0], "show")["seen"]
        self.set_back(backup)
        for name in CLIENTS:
            self.assertIn("was rolled back: it had ", self.wait_until_refused(name))
        run = self.federation.start_run(small_plan(count=2, seed=3))
        self.finished(self.federation.accept_restored_log(run, CLIENTS))
        self.assertNotEqual(self.federation.of_log(CLIENTS[0], "show")["seen"]["root"], seen["root"])

    def test_exactly_what_was_seen_is_accepted(self):
        self.start_clients(CLIENTS)
        self.finish_a_run(seed=1)
        backup = self.back_up()
        self.finish_a_run(seed=2)
        self.set_back(backup)
        name = CLIENTS[0]
        self.wait_until_refused(name)
        config = self.federation.folder / name / "client.toml"
        refused = self.federation.of_log(name, "show")["refused"]
        told = self.federation.run("fedtune-client", "log", "accept", "--config", config,
                                   "--root", "ab" * 32, expect=1)
        self.assertIn(refused["root"], told.stderr)
        taken = self.federation.run("fedtune-client", "log", "accept", "--config", config,
                                    "--root", refused["root"])
        self.assertIn(f"To be accepted: {refused['entries']} entries with the root", taken.stdout)
        self.assertEqual(self.federation.of_log(name, "show")["seen"]["root"], refused["root"])


if __name__ == "__main__":
    unittest.main(verbosity=2)
