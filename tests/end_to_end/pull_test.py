#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Several who pull one run's model at the same time, and while it is trained.

    pull_test.py PROGRAMS_DIR
"""

import fcntl
import json
import re
import subprocess
import sys
import tempfile
import unittest

from federation import BASE_MODEL, SITES, TIMEOUT_S, Federation, small_plan

PROGRAMS = sys.argv.pop(1)
CLIENTS = SITES[:2]

REFUSED = re.compile(r"error: \S+ is (being written by another process; let it end, or choose "
                     r"another folder|there already and is not an empty folder; choose another)\n")


class PullTest(unittest.TestCase):
    """A federation of two institutions."""

    def setUp(self):
        folder = self.enterContext(tempfile.TemporaryDirectory(prefix="fedtune-"))
        self.federation = self.enterContext(Federation(PROGRAMS, folder))
        self.federation.make_authority()
        self.federation.start_coordinator()
        for name in CLIENTS:
            self.federation.start_client(name)
        self.federation.wait_for_clients(len(CLIENTS))

    def pull(self, run, out, *flags):
        """Begins to pull, and returns the process."""
        return subprocess.Popen(
            [self.federation.programs / "fedtune", *self.federation.connection(),
             "model", "pull", run, "--out", out, *flags],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def record(self, run):
        """The file with the run's record."""
        file = self.federation.folder / "record.json"
        file.write_text(json.dumps(self.federation.run_state(run)))
        return file

    def verify(self, run, out, *flags):
        self.federation.run("fedtune", "model", "verify", out, "--record", self.record(run),
                            *flags)

    def pull_together(self, run, out, *flags):
        """Three at once: one gets all of it, and the others are told why they do not."""
        pulls = [self.pull(run, out, *flags) for _ in range(3)]
        said = {pull: pull.communicate(timeout=TIMEOUT_S)[1] for pull in pulls}
        self.assertEqual(sorted(pull.returncode for pull in pulls), [0, 1, 1], said.values())
        for pull, text in said.items():
            if pull.returncode != 0:
                self.assertRegex(text, REFUSED)
        self.assertEqual(list(out.parent.glob(f"{out.name}.*")), [], "nothing is left beside it")

    def test_of_several_at_once_one_gets_all_of_it(self):
        run = self.federation.start_run(small_plan(count=1, steps=1))
        self.federation.wait_for_end(run)
        for i in range(5):
            peft = self.federation.folder / f"peft-{i}"
            self.pull_together(run, peft)
            self.verify(run, peft)
        for i in range(2):
            merged = self.federation.folder / f"merged-{i}"
            self.pull_together(run, merged, "--format", "hf", "--base", BASE_MODEL)
            self.verify(run, merged, "--adapter", peft, "--base", BASE_MODEL)

    def test_one_that_comes_later_leaves_the_first_alone(self):
        run = self.federation.start_run(small_plan(count=1, steps=1))
        self.federation.wait_for_end(run)
        out = self.federation.folder / "out"
        written = self.federation.folder / "out.partial" / "adapter_model.safetensors"
        written.parent.mkdir()
        written.write_text("half of it")
        with open(self.federation.folder / "out.partial.lock", "w", encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            for flags in [[], ["--format", "hf", "--base", BASE_MODEL]]:
                late = self.pull(run, out, *flags)
                self.assertRegex(late.communicate(timeout=TIMEOUT_S)[1], REFUSED)
                self.assertEqual(late.returncode, 1)
            self.assertEqual(written.read_text(), "half of it")
        self.assertEqual(self.pull(run, out).wait(timeout=TIMEOUT_S), 0, "the first was killed")
        self.verify(run, out)

    def test_what_is_pulled_while_rounds_are_released_is_of_one_of_them(self):
        run = self.federation.start_run(small_plan(count=6, steps=1))
        pulled = {}
        while self.federation.run_state(run)["state"] not in ("finished", "failed"):
            out = self.federation.folder / f"out-{len(pulled)}"
            pull = self.pull(run, out)
            text = pull.communicate(timeout=TIMEOUT_S)[1]
            if "has released nothing yet" in text:
                continue
            self.assertEqual(pull.returncode, 0, text)
            pulled[out] = re.search(r"the adapter after (\d+) rounds", text)[1]
        self.assertTrue(pulled)
        for out, round_number in pulled.items():
            self.verify(run, out, "--round", round_number)


if __name__ == "__main__":
    unittest.main(verbosity=2)
