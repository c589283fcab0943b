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

    def test_a_coordinator_that_was_restored_is_refused_until_that_is_accepted(self):
        self.start_clients(CLIENTS)
        self.finish_a_run(seed=1)
        backup = self.federation.run(
            "fedtune-coordinator", "backup", "--state-dir", self.state, "--backup-dir",
            self.federation.folder / "backups").stdout.strip()
        self.finish_a_run(seed=2)
        seen = self.federation.of_log(CLIENTS[0], "show")["seen"]
        restored = self.federation.folder / "restored"
        self.federation.run("fedtune-coordinator", "restore", "--from", backup, "--state-dir",
                            restored)
        shutil.copytree(self.state / "keys", restored / "keys", dirs_exist_ok=True)
        self.restart_in(restored)
        self.federation.wait_for_clients(len(CLIENTS))

        run = self.federation.start_run(small_plan(count=2, seed=3))
        for name in CLIENTS:
            self.assertIn("was rolled back: it had ", self.wait_until_refused(name))
        self.assertEqual(self.federation.run_state(run)["rounds_done"], 0)
        for name in CLIENTS:
            accepted = self.federation.of_log(name, "accept")
            self.assertLess(accepted["accepted"]["entries"], accepted["before"]["entries"])
        self.assertEqual(self.federation.of_log(CLIENTS[0], "show")["refused"], None)
        self.federation.wait_for_end(run)  # Well or not: nobody took part at first.
        self.finish_a_run(seed=4)
        self.assertNotEqual(self.federation.of_log(CLIENTS[0], "show")["seen"]["root"], seen["root"])


if __name__ == "__main__":
    unittest.main(verbosity=2)
