#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Kills a client at its work, and looks for work that is lost.

    client_restart_test.py PROGRAMS_DIR
"""

import re
import sys
import tempfile
import unittest

from federation import EAGER, SITES, Federation, small_plan

PROGRAMS = sys.argv.pop(1)
STEPS = 100
# A round of some seconds, in which everyone is needed.
PLAN = small_plan(count=1, steps=STEPS, deadline_s=200)
CLIENTS = SITES[:2]
VICTIM = CLIENTS[0]


class ClientRestartTest(unittest.TestCase):
    """The same run three times in one federation, twice with a client that is killed."""

    def setUp(self):
        folder = self.enterContext(tempfile.TemporaryDirectory(prefix="fedtune-"))
        self.federation = self.enterContext(Federation(PROGRAMS, folder))
        self.federation.make_authority()
        self.federation.start_coordinator()
        for name in CLIENTS:
            self.federation.start_client(name, keys=EAGER)
        self.federation.wait_for_clients(len(CLIENTS))

    def restart_victim(self):
        """Starts the killed client again, and returns what its log is from then on."""
        begin = len(self.federation.log(VICTIM))
        self.federation.start_client(VICTIM, keys=EAGER)
        return lambda: self.federation.log(VICTIM)[begin:]

    def end_of(self, run):
        """Waits for the run's good end and returns the digest of its adapter."""
        state = self.federation.wait_for_end(run)
        self.assertEqual(state["state"], "finished", state["reason"])
        self.assertEqual(state["rounds"][0]["contributions"], 2)
        return state["adapter"]

    def wait_until_nothing_is_stored(self):
        """What is stored of a run goes when it ends."""
        self.federation.wait_until(
            "an empty folder", lambda: not self.federation.stored(VICTIM))

    def killed_in_training(self):
        """A run whose victim is killed between two of its steps."""
        run = self.federation.start_run(PLAN)
        self.federation.wait_until("a step", lambda: self.federation.has_trained(VICTIM))
        self.federation.kill(VICTIM)
        self.assertTrue(self.federation.has_trained(VICTIM), "it was killed too late")
        log = self.restart_victim()
        adapter = self.end_of(run)
        resumed = re.search(r"round goes on from its checkpoint .*step=(\d+) steps=(\d+)", log())
        self.assertTrue(resumed, log())
        self.assertGreater(int(resumed[1]), 0)
        self.assertEqual(int(resumed[2]), STEPS)
        return adapter

    def killed_before_its_upload(self):
        """A run whose victim is killed when all is done but not handed in: the
        coordinator stands still meanwhile."""
        run = self.federation.start_run(PLAN)
        self.federation.wait_until("a step", lambda: self.federation.has_trained(VICTIM))
        with self.federation.standing_still("coordinator"):
            self.federation.wait_until(
                "the result", lambda: self.federation.stored(VICTIM, "result"))
            self.federation.kill(VICTIM)
        log = self.restart_victim()
        adapter = self.end_of(run)
        # The next round may be assigned before this one's contribution is answered.
        first_round = log().partition(" round=2 ")[0]
        self.assertIn("its stored result is taken", first_round)
        self.assertNotIn("loading base model", first_round)
        return adapter

    def test_a_killed_client_loses_no_work_and_changes_no_byte(self):
        undisturbed = self.end_of(self.federation.start_run(PLAN))
        self.wait_until_nothing_is_stored()
        self.assertEqual(self.killed_in_training(), undisturbed)
        self.wait_until_nothing_is_stored()
        self.assertEqual(self.killed_before_its_upload(), undisturbed)
        self.wait_until_nothing_is_stored()


if __name__ == "__main__":
    unittest.main(verbosity=2)
