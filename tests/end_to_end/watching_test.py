#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Who watches a run: is told, may leave, and is there still when the coordinator is back.

    watching_test.py PROGRAMS_DIR
"""

import signal
import subprocess
import sys
import tempfile
import time
import unittest

from federation import SITES, Federation, patient, small_plan

PROGRAMS = sys.argv.pop(1)
CLIENTS = SITES[:2]


class WatchingTest(unittest.TestCase):
    """One federation for all tests; each ends the run that it started."""

    @classmethod
    def setUpClass(cls):
        folder = cls.enterClassContext(tempfile.TemporaryDirectory(prefix="fedtune-"))
        cls.federation = cls.enterClassContext(Federation(PROGRAMS, folder))
        cls.federation.make_authority()
        cls.federation.start_coordinator()
        for name in CLIENTS:
            cls.federation.start_client(name)

    def start_and_watch(self):
        """A long run, and the process that started it and watches."""
        # Those from before a restart may be on the way.
        self.federation.wait_for_clients(len(CLIENTS))
        plan = self.federation.folder / "long.toml"
        plan.write_text(small_plan(count=2, steps=400), encoding="utf-8")
        watch = subprocess.Popen(
            [self.federation.programs / "fedtune", *map(str, self.federation.connection()), "run",
             "start", plan, "--watch"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        run = watch.stderr.readline().split()[0]
        watch.stderr.readline()  # It watches: the first line of a pipe comes at once.
        return run, watch

    def test_ctrl_c_stops_only_the_watching(self):
        run, watch = self.start_and_watch()
        watch.send_signal(signal.SIGINT)
        out, err = watch.communicate(timeout=patient(30))
        self.assertEqual((watch.returncode, out), (0, ""))
        self.assertIn(f"stopped watching; {run} goes on. fedtune run watch {run}\n", err)
        self.assertNotIn("\x1b", err)
        self.assertIn(self.federation.run_state(run)["state"], ("inviting", "running"))

        self.federation.fedtune("run", "stop", run, "--reason", "seen \x1b[2J enough")
        done = self.federation.fedtune("run", "watch", run, expect=5)
        self.assertIn(f"{run} stopped after 0 of 2 rounds: seen \\x1b[2J enough", done.stderr)

    def test_a_watch_goes_on_when_the_coordinator_is_back(self):
        self.a_watch_goes_on_after(self.federation.kill)

    def test_a_watch_goes_on_over_a_planned_restart(self):
        self.a_watch_goes_on_after(self.federation.stop)

    def a_watch_goes_on_after(self, end):
        run, watch = self.start_and_watch()
        end("coordinator")
        said = any("trying again for 10 min" in line for line in watch.stderr)
        time.sleep(patient(3))  # It asks in vain meanwhile, again and again.
        self.federation.start_coordinator(self.federation.address)
        self.assertTrue(said)
        self.federation.fedtune("run", "stop", run, "--reason", "seen enough")
        out, err = watch.communicate(timeout=patient(30))
        self.assertEqual((watch.returncode, out), (5, ""), err)
        self.assertIn(f"{run} stopped after 0 of 2 rounds: seen enough", err)


if __name__ == "__main__":
    unittest.main(verbosity=2)
