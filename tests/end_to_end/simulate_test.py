#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Tries plans with fedtune simulate, and does one of them for real besides.

    simulate_test.py PROGRAMS_DIR
"""

import json
import pathlib
import shutil
import sys
import tempfile
import unittest

from federation import DATA, SITES, Federation, small_plan

PROGRAMS = sys.argv.pop(1)
CLIENTS = SITES[:2]


def plan(quorum=2):
    return small_plan(count=2, steps=3, quorum=quorum, sequence_length=96)


class SimulateTest(unittest.TestCase):
    """The program beside fedtune, as a researcher starts it."""

    def setUp(self):
        self.folder = pathlib.Path(
            self.enterContext(tempfile.TemporaryDirectory(prefix="fedtune-")))
        self.federation = self.enterContext(Federation(PROGRAMS, self.folder))
        self.plan = self.folder / "tried.toml"

    def simulate(self, *arguments, text=None, expect=0):
        self.plan.write_text(text or plan())
        return self.federation.run("fedtune", "simulate", self.plan, *arguments, expect=expect)

    def test_real_training_gives_the_bytes_of_a_real_federation(self):
        data = self.folder / "data"
        for name in CLIENTS:
            (data / name).mkdir(parents=True)
            for file in ("train.jsonl", "eval.jsonl"):
                shutil.copy(DATA / name / file, data / name / file)
        lines = self.simulate("--trainer", "real", "--data", data, "--threads", 1,
                              "--json").stdout.splitlines()
        self.federation.make_authority()
        self.federation.start_coordinator()
        for name in CLIENTS:
            self.federation.start_client(name)
        self.federation.wait_for_clients(len(CLIENTS))
        state = self.federation.wait_for_end(self.federation.start_run(plan()))
        self.assertEqual(state["state"], "finished", state["reason"])
        self.assertEqual(json.loads(lines[-1])["state"], "finished")
        self.assertEqual(json.loads(lines[-2])["round"], 2)
        self.assertEqual(json.loads(lines[-2])["adapter"].removeprefix("sha256:"),
                         state["adapter"].removeprefix("sha256:"))

    def test_a_table_for_people(self):
        text = self.simulate("--clients", 20, "--seed", 3).stdout
        self.assertIn("contributions", text)
        self.assertIn("run finished, 2 rounds", text)
        self.assertEqual(text.splitlines()[1].split()[:4], ["1", "20", "20", "0"])

    def test_a_plan_that_cannot_work_is_refused_as_by_the_plan_check(self):
        refused = self.simulate("--clients", 20, text=plan().replace("fedit", "fedIT"), expect=2)
        checked = self.federation.run("fedtune", "plan", "check", self.plan, expect=2)
        self.assertEqual(refused.stderr, checked.stderr)

    def test_too_few_clients_end_it_at_once(self):
        text = self.simulate("--clients", 3, text=plan(quorum=5), expect=1).stderr
        self.assertIn("the plan's quorum is 5", text)

    def test_real_training_wants_a_folder_for_each_client(self):
        text = self.simulate("--trainer", "real", "--data", DATA, "--clients", 1000,
                             expect=2).stderr
        self.assertIn("1000 clients are asked for, and 6 institutions have a folder", text)

    def test_a_run_without_its_goal_has_the_exit_code_of_one(self):
        text = self.simulate("--clients", 20, "--dropout", 1, text=plan(quorum=20),
                             expect=5).stderr
        self.assertIn("the run failed", text)

    def test_its_program_may_be_missing(self):
        alone = self.folder / "alone"
        alone.mkdir()
        shutil.copy(pathlib.Path(PROGRAMS) / "fedtune", alone)
        self.federation.programs = alone
        text = self.simulate("--clients", 20, expect=1).stderr
        self.assertIn("there is no", text)
        self.assertIn("fedtune-simulate", text)


if __name__ == "__main__":
    unittest.main(verbosity=2)
