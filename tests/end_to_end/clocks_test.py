#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Rounds beside clocks that are wrong, and that step.

    clocks_test.py PROGRAMS_DIR
"""

import json
import pathlib
import sys
import tempfile
import unittest

from federation import EAGER, SITES, Federation, small_plan

PROGRAMS = sys.argv.pop(1)
CLIENTS = SITES[:2]
LIBRARY = pathlib.Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1")


class ClocksTest(unittest.TestCase):
    """Each process has a wall clock that the test can set; the monotonic one is the
    machine's."""

    def setUp(self):
        if not LIBRARY.exists():
            self.skipTest("libfaketime is not installed")
        folder = self.enterContext(tempfile.TemporaryDirectory(prefix="fedtune-"))
        self.federation = self.enterContext(Federation(PROGRAMS, folder))
        # Certificates are good from yesterday on, as they are in a federation of some age.
        self.federation.where["fedtune-ca"] = ["env", f"LD_PRELOAD={LIBRARY}", "FAKETIME=-1d"]
        self.federation.make_authority()
        for name in ("coordinator", *CLIENTS):
            self.set_clock(name, "+0")
            self.federation.where[name] = [
                "env", f"LD_PRELOAD={LIBRARY}", f"FAKETIME_TIMESTAMP_FILE={self.clock(name)}",
                "FAKETIME_NO_CACHE=1", "FAKETIME_DONT_FAKE_MONOTONIC=1",
                "NO_FAKE_STAT=1"]  # A clock that steps changes no file's times.
        self.federation.start_coordinator()

    def clock(self, name):
        return self.federation.folder / f"{name}.clock"

    def set_clock(self, name, offset):
        """From now on, in a process that runs already, too."""
        self.clock(name).write_text(f"{offset}\n")

    def start_client(self, name):
        self.federation.start_client(name, keys=EAGER)

    def step_in_each_round(self, name, offsets):
        """A run in whose rounds a clock steps; the adapter that came of it."""
        run = self.federation.start_run(small_plan(count=4, steps=60, deadline_s=90))
        for number, offset in enumerate(offsets):
            self.federation.wait_until(f"{number} rounds", lambda least=number: (
                self.federation.run_state(run)["rounds_done"] >= least))
            self.set_clock(name, offset)
        state = self.federation.wait_for_end(run)
        self.assertEqual(state["state"], "finished", state["reason"])
        self.assertEqual([r["contributions"] for r in state["rounds"]], [2] * 4)
        self.assertEqual([r["attempts"] for r in state["rounds"]], [1] * 4)
        return state["adapter"]

    def test_steps_within_a_round_end_no_round(self):
        for name in CLIENTS:
            self.start_client(name)
        self.federation.wait_for_clients(len(CLIENTS))
        undisturbed = self.step_in_each_round("coordinator", ["+0"])
        steps = ["+3600", "-3600", "+0"]
        self.assertEqual(self.step_in_each_round("coordinator", steps), undisturbed)
        self.set_clock("coordinator", "+0")
        steps = ["+600", "-600", "+0"]
        self.assertEqual(self.step_in_each_round(CLIENTS[0], steps), undisturbed)

    def refusal(self, offset):
        """What a client says that cannot connect by its clock."""
        name = CLIENTS[0]
        self.federation.issue("client", name, self.federation.folder / name / "keys")
        self.set_clock(name, offset)
        self.start_client(name)
        process = self.federation.processes[name]
        self.federation.wait_until("what it says", lambda: (
            process.poll() is not None or "reason=" in self.federation.log(name)))
        return self.federation.log(name)

    def test_a_client_whose_clock_is_years_ahead_is_told_of_its_clock(self):
        self.assertRegex(self.refusal("+5y"), "clock")

    def test_a_client_whose_clock_is_a_week_behind_is_told_of_its_clock(self):
        self.assertRegex(self.refusal("-7d"), "clock")


class ExpiryTest(unittest.TestCase):
    """A federation whose certificates, of 90 days, were issued 70 days ago."""

    def setUp(self):
        if not LIBRARY.exists():
            self.skipTest("libfaketime is not installed")
        folder = self.enterContext(tempfile.TemporaryDirectory(prefix="fedtune-"))
        self.federation = self.enterContext(Federation(PROGRAMS, folder))
        self.federation.where["fedtune-ca"] = ["env", f"LD_PRELOAD={LIBRARY}", "FAKETIME=-70d"]
        self.federation.make_authority()
        self.federation.start_coordinator()

    def test_everybody_hears_of_certificates_that_expire_soon(self):
        federation, name = self.federation, CLIENTS[0]
        federation.start_client(name)
        hub = 'a certificate expires soon whose="coordinator hub of federation north"'
        self.assertIn(hub, federation.log("coordinator"))
        federation.wait_until("the client's word", lambda: hub in federation.log(name))
        for role in ("client", "signer"):
            self.assertIn(f'whose="{role} {name} of federation north"', federation.log(name))
        done = federation.fedtune("client", "list")
        for whose in ("administrator ada", "coordinator hub"):
            self.assertRegex(done.stderr, f"warning: the certificate of {whose} .* "
                                          r"ends on \S+ \(in (19|20) days\)")
        self.assertRegex(done.stdout, "(19|20) days left")
        for zone in ("Etc/GMT-14", "Etc/GMT+12"):  # Today is another day in one of them.
            federation.where["fedtune-client"] = ["env", f"TZ={zone}"]
            checks = json.loads(federation.run(
                "fedtune-client", "check", "--json", "--config",
                federation.folder / name / "client.toml").stdout)["checks"]
            details = {check["what"]: check["detail"] for check in checks}
            self.assertRegex(details["certificate"], r"until (\S+)\n.* ends on \1 \(in")
        self.assertIn("the certificate of client", details["certificate"])
        self.assertIn("the certificate of coordinator hub", details["coordinator"])
        report = json.loads(federation.run(
            "fedtune-coordinator", "check", "--json", "--state-dir",
            federation.folder / "coordinator").stdout)
        self.assertEqual([expiry["whose"] for expiry in report["expiring"]],
                         ["coordinator hub of federation north"])


if __name__ == "__main__":
    unittest.main(verbosity=2)
