#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What an auditor can tell with the coordinator's log, and that no forger gets past it.

    audit_log_test.py PROGRAMS_DIR
"""

import json
import pathlib
import shutil
import sys
import tempfile
import unittest

from federation import SITES, Federation, small_plan

PROGRAMS = sys.argv.pop(1)
CLIENTS = SITES[:2]


class AuditLogTest(unittest.TestCase):
    """A federation of two that has run, with an auditor who has its log."""

    def setUp(self):
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory(
            prefix="fedtune-")))
        self.federation = self.enterContext(Federation(PROGRAMS, self.folder))
        self.federation.make_authority()
        self.federation.start_coordinator()
        for name in CLIENTS:
            self.federation.start_client(name)
        self.federation.wait_for_clients(len(CLIENTS))
        self.log = self.folder / "north.log"

    def finish_run(self):
        """Runs two rounds, and returns the file with the run's record."""
        run = self.federation.start_run(small_plan(count=2))
        state = self.federation.wait_for_end(run)
        self.assertEqual(state["state"], "finished", state["reason"])
        record = self.folder / f"{run}.json"
        record.write_text(json.dumps(state))
        return record

    def pull(self, expect=0, log=None):
        return self.federation.fedtune("log", "pull", log or self.log, expect=expect)

    def verify(self, *arguments, log=None, expect=0):
        """Without keys, configuration or coordinator."""
        return self.federation.run("fedtune", "log", "verify", log or self.log, "--authority",
                                   self.folder / "ca/ca.crt", *arguments, expect=expect)

    def kept(self):
        """What the institutions' clients have kept of the log."""
        found = [self.folder / name / "log_checkpoint.json" for name in CLIENTS]
        return [flag for file in found if file.exists() for flag in ("--checkpoint", file)]

    def events(self):
        out = self.federation.run("fedtune", "log", "show", self.log, "--json").stdout
        return [json.loads(line)["event"] for line in out.splitlines()]

    def back_up(self):
        return self.federation.run(
            "fedtune-coordinator", "backup", "--state-dir", self.folder / "coordinator",
            "--backup-dir", self.folder / "backups").stdout.strip()

    def restore(self, backup):
        """The coordinator is the one of the backup."""
        self.federation.kill("coordinator")
        state = self.folder / "coordinator"
        lost = state.rename(self.folder / "lost")
        state.mkdir()
        shutil.copytree(lost / "keys", state / "keys")
        self.federation.run("fedtune-coordinator", "restore", "--from", backup,
                            "--state-dir", state)
        self.federation.start_coordinator(listen=self.federation.address)

    def test_the_log_of_two_runs_agrees_with_all_who_have_seen_it(self):
        first = self.finish_run()
        self.pull()
        second = self.finish_run()
        self.assertIn("new", self.pull().stderr)
        found = json.loads(self.verify("--record", first, "--record", second, *self.kept(),
                                       "--json").stdout)
        self.assertEqual((found["runs"], found["rounds"], found["burnt"]), (2, 4, 0))
        self.assertEqual([record["rounds"] for record in found["records"]], [2, 2])
        self.assertEqual(len(found["checkpoints"]), len(CLIENTS))
        events = self.events()
        self.assertEqual(events[:3], ["log begun", "run started", "round opened"])
        self.assertEqual(events.count("contribution counted"), 8)
        self.assertEqual(events.count("run ended"), 2)
        record = json.loads(first.read_text())
        run = record["run_id"]
        self.federation.fedtune("model", "pull", run, "--out", self.folder / "peft")
        out = self.federation.fedtune("model", "verify", self.folder / "peft", "--record", first,
                                      "--log", self.log).stdout
        self.assertIn("2 of 2 rounds are in it", out)
        record["rounds"][0]["contributions"] = 3
        first.write_text(json.dumps(record))
        self.assertIn("has contributions 3 in the record, and 2 in the log",
                      self.verify("--record", first, expect=3).stderr)

    def test_a_forger_of_the_file_is_found(self):
        self.finish_run()
        self.pull()
        whole = self.log.read_bytes()
        lines = whole.splitlines(keepends=True)
        forged = self.folder / "forged.log"
        for text in (whole.replace(b'"contributions":2', b'"contributions":3', 1),
                     b"".join(lines[:3] + lines[4:]),
                     b"".join(lines[:3] + [lines[4], lines[3]] + lines[5:]),
                     b"".join(lines[:-1]), whole[:-1], whole + lines[-1]):
            forged.write_bytes(text)
            self.verify(log=forged, expect=3)
            self.pull(log=forged, expect=3)
            self.assertEqual(forged.read_bytes(), text)

    def test_a_coordinator_that_was_set_back_is_found_by_whoever_pulls_again(self):
        self.finish_run()
        backup = self.back_up()
        self.finish_run()
        self.pull()
        before = self.log.read_bytes()
        self.restore(backup)
        self.assertIn("rolled back", self.pull(expect=3).stderr)
        self.assertEqual(self.log.read_bytes(), before)
        after = self.folder / "after.log"
        self.pull(log=after)
        self.verify(log=after)
        self.verify(*self.kept(), log=after, expect=3)


if __name__ == "__main__":
    unittest.main(verbosity=2)
