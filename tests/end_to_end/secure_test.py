#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs secure rounds with real processes, and looks for what must not be seen.

    secure_test.py PROGRAMS_DIR
"""

import array
import json
import pathlib
import re
import shutil
import sys
import tempfile
import time
import unittest

from federation import BASE_MODEL, DATA, EAGER, Federation, secure_plan, small_plan

PROGRAMS = sys.argv.pop(1)

# Training without a federation draws its records as an institution "local" does.
LOCAL = "local"
NAMES = [LOCAL, "general-clinic", "neuro-psychiatric", "oncology-hospital", "trauma-centre"]
LOCAL_DATA = "cardiology-hospital"
POLICY = "min_cohort = 4\n"


def plan(mode="secure", count=2, steps=2, **more):
    """The same work in both modes."""
    if mode == "plain":
        return small_plan(count, steps, quorum=4)
    return secure_plan(count, steps, **more)


def read_adapter(folder):
    """The tensors of a PEFT adapter by name, and their bytes."""
    content = (folder / "adapter_model.safetensors").read_bytes()
    begin = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:begin])
    header.pop("__metadata__", None)
    return {name: content[slice(*(begin + x for x in entry["data_offsets"]))]
            for name, entry in header.items()}


def memory_of(pid):
    """Everything that a process can write to, piece by piece: what a core would hold."""
    with open(f"/proc/{pid}/maps", encoding="ascii") as maps:
        ranges = [re.match(r"([0-9a-f]+)-([0-9a-f]+) rw", line) for line in maps]
    with open(f"/proc/{pid}/mem", "rb", 0) as memory:
        for found in filter(None, ranges):
            begin, end = (int(x, 16) for x in found.groups())
            if end - begin > 4 << 30:
                continue  # The address sanitizer's own, terabytes that hold nothing of ours.
            try:
                memory.seek(begin)
                yield memory.read(end - begin)
            except OSError:
                continue  # A guard page, or gone meanwhile.


class SecureTest(unittest.TestCase):
    """Each test has five institutions with signing keys on a roster, which share a
    federation key."""

    def setUp(self):
        folder = self.enterContext(tempfile.TemporaryDirectory(prefix="fedtune-"))
        self.federation = self.enterContext(Federation(PROGRAMS, folder))
        self.federation.make_authority()
        self.federation.sign_roster(NAMES)
        self.key = self.federation.folder / "federation.key"
        self.federation.run("fedtune-ca", "federation-key", "--out", self.key)
        self.federation.start_coordinator()
        for name in NAMES:
            self.start_client(name)
        self.federation.wait_for_clients(len(NAMES))

    def start_client(self, name, policy=POLICY, fail_point=""):
        self.federation.start_client(name, policy, site=LOCAL_DATA if name == LOCAL else None,
                                     keys=f'federation_key = "{self.key}"\n{EAGER}',
                                     fail_point=fail_point)

    def finish(self, text):
        """Starts a run and waits for its good end."""
        run = self.federation.wait_for_end(self.federation.start_run(text))
        self.assertEqual(run["state"], "finished", run["reason"])
        return run

    def pull(self, run, name):
        """The adapter of a run, tensor by tensor."""
        folder = self.federation.folder / name
        self.federation.fedtune("model", "pull", run["run_id"], "--format", "peft",
                                "--out", folder)
        return read_adapter(folder)

    def test_a_secure_round_gives_what_a_plain_one_does(self):
        secure = self.finish(plan(count=1))
        plain = self.finish(plan("plain", count=1))
        self.assertEqual(secure["rounds"][0]["contributions"], 5)
        theirs = self.pull(plain, "plain")
        for name, content in self.pull(secure, "secure").items():
            for mine, other in zip(array.array("f", content), array.array("f", theirs[name]),
                                   strict=True):
                self.assertAlmostEqual(mine, other, delta=1e-6)  # Steps of the quantiser.
        self.assertAlmostEqual(secure["rounds"][0]["training_loss"],
                               plain["rounds"][0]["training_loss"], delta=1e-4)
        for mine, other in ((secure["first_evaluation"], plain["first_evaluation"]),
                            (secure["last_evaluation"], plain["last_evaluation"])):
            self.assertAlmostEqual(mine["loss"], other["loss"], delta=1e-3)
            self.assertAlmostEqual(mine["accuracy"], other["accuracy"], delta=5e-3)
        self.assertEqual(secure["rounds"][0]["examples"], plain["rounds"][0]["examples"])
        self.compare_routing(secure["rounds"][0]["routing"], plain["rounds"][0]["routing"])
        log = self.federation.folder / "north.log"
        self.federation.fedtune("log", "pull", log)
        checked = self.federation.run("fedtune", "log", "verify", log, "--authority",
                                      self.federation.folder / "ca" / "ca.crt", "--json").stdout
        self.assertEqual(json.loads(checked)["rounds"], 2)

    def compare_routing(self, secure, plain):
        """Masked or not, each expert has as many tokens: all of them went through the
        first layers, to two experts each, and fewer through the last."""
        self.assertEqual(secure, plain)
        layers = [layer["expert_tokens"] for layer in secure]
        self.assertEqual([len(layer) for layer in layers], [8, 8, 8])
        first, second, last = map(sum, layers)
        self.assertEqual(first, second)
        self.assertEqual(first % 2, 0)
        self.assertLess(last, first)
        self.assertGreater(last, 0)

    def canaries(self):
        """Pieces of what "local" contributes to the first round of a plan: its trained B
        factors, which began as zeros."""
        trained = self.federation.folder / "trained"
        self.federation.run("fedtune-client", "train", "--base", BASE_MODEL, "--threads", "1",
                            "--plan", self.federation.folder / "plan.toml",
                            "--data", DATA / LOCAL_DATA / "train.jsonl", "--out", trained)
        pieces = []
        for name, content in read_adapter(trained).items():
            if "lora_B" in name:
                pieces += [content[at:at + 32] for at in range(0, len(content) - 32, 512)]
        pieces = [piece for piece in pieces if len(set(piece)) > 16]
        self.assertGreater(len(pieces), 8)
        return pieces

    def seen_by_the_coordinator(self, pieces):
        """How many of the pieces are in its memory, in its files or in its log."""
        found = set()
        coordinator = self.federation.processes["coordinator"]
        places = list(memory_of(coordinator.pid))
        self.assertGreater(sum(map(len, places)), 1 << 20)
        places += [file.read_bytes() for file in (self.federation.folder / "coordinator").rglob("*")
                   if file.is_file()]
        places.append((self.federation.folder / "coordinator.log").read_bytes())
        for place in places:
            found.update(piece for piece in pieces if piece in place)
        return len(found)

    def test_no_contribution_is_seen_by_the_coordinator(self):
        coordinator = self.federation.processes["coordinator"]
        try:
            next(memory_of(coordinator.pid))
        except PermissionError:
            self.skipTest("this user may not look into the coordinator's memory")
        steps = 20
        self.finish(plan(count=1, steps=steps))
        pieces = self.canaries()
        self.assertEqual(self.seen_by_the_coordinator(pieces), 0)
        # The same search finds a contribution of a plain round that others hold up.
        slow = NAMES[1]
        before = {name: len(self.federation.log(name)) for name in (LOCAL, slow)}
        run = self.federation.start_run(plan("plain", count=1, steps=steps))
        self.federation.wait_until("another's training", lambda: (
            "round assigned" in self.federation.log(slow)[before[slow]:]))
        with self.federation.standing_still(slow):
            self.federation.wait_until("the contribution", lambda: (
                "contribution taken" in self.federation.log(LOCAL)[before[LOCAL]:]))
            self.assertGreater(self.seen_by_the_coordinator(pieces), 0)
        self.federation.wait_for_end(run)

    def test_a_killed_client_is_left_out_and_comes_back(self):
        run = self.federation.start_run(plan(count=3, steps=30, deadline_s=30))
        victim = NAMES[3]
        self.federation.wait_until("the victim's training", lambda: (
            "round assigned" in self.federation.log(victim)))
        self.federation.kill(victim)
        self.federation.wait_until("the end of round 1", lambda: (
            self.federation.run_state(run)["rounds_done"] > 0))
        # However long it takes to come back, a round is still to come then.
        self.federation.fedtune("run", "pause", run)
        self.start_client(victim)
        self.federation.wait_for_clients(len(NAMES))
        self.federation.fedtune("run", "resume", run)
        state = self.federation.wait_for_end(run)
        self.assertEqual(state["state"], "finished", state["reason"])
        self.assertEqual(state["rounds"][0]["contributions"], 4)
        self.assertEqual(state["rounds"][2]["contributions"], 5)

    def test_a_client_that_loses_its_state_within_a_round_is_left_out_of_it(self):
        victim = NAMES[3]
        for records in (2, 3):  # The coordinator has its keys; its shares.
            with self.subTest(records=records):
                self.federation.kill(victim)
                self.start_client(victim, fail_point=f"session-append-after@{records}:kill")
                self.federation.wait_for_clients(len(NAMES))
                run = self.federation.start_run(plan(count=2, deadline_s=30))
                self.federation.wait_until_killed(victim)
                state_dir = self.federation.folder / victim
                (state_dir / "aggregations.db").unlink()
                for kept in [*state_dir.glob("aggregations.db-*"), *state_dir.glob("rounds/*")]:
                    kept.unlink()
                self.start_client(victim)
                state = self.federation.wait_for_end(run)
                self.assertEqual(state["state"], "finished", state["reason"])
                self.assertEqual(state["rounds"][0]["contributions"], len(NAMES) - 1)

    def test_a_client_that_is_killed_when_it_has_trained_hands_in_what_it_trained(self):
        run = self.federation.start_run(plan(count=1, steps=40, deadline_s=200, phase_s=60))
        victim = NAMES[3]
        self.federation.wait_until("a step", lambda: self.federation.has_trained(victim))
        with self.federation.standing_still("coordinator"):
            self.federation.wait_until("the result",
                                       lambda: self.federation.stored(victim, "result"))
            self.federation.kill(victim)
        begin = len(self.federation.log(victim))
        self.start_client(victim)
        state = self.federation.wait_for_end(run)
        self.assertEqual(state["state"], "finished", state["reason"])
        self.assertEqual(state["rounds"][0]["contributions"], 5)
        # The next round may be assigned before the client hears that this one is taken.
        log, _, _ = self.federation.log(victim)[begin:].partition(f"run={run} round=2")
        self.assertIn("its stored result is taken", log)
        self.assertNotIn("loading base model", log)

    def test_a_coordinator_that_is_killed_goes_on_within_its_round(self):
        # Time enough for clients that were cut off to come back within each phase.
        run = self.federation.start_run(plan(count=4, steps=40, deadline_s=120, phase_s=60))
        self.federation.wait_until("everyone's work", lambda: all(
            "round assigned" in self.federation.log(name) for name in NAMES))
        for rounds in range(4):
            # At other moments of a round each time.
            self.federation.wait_until(f"{rounds} rounds", lambda least=rounds: (
                self.federation.run_state(run)["rounds_done"] >= least))
            time.sleep(0.4 * rounds)
            self.federation.kill("coordinator")
            self.federation.start_coordinator(listen=self.federation.address)
        state = self.federation.wait_for_end(run)
        self.assertEqual(state["state"], "finished", state["reason"])
        self.assertEqual([r["contributions"] for r in state["rounds"]], [5] * 4)
        for name in NAMES:
            self.assertIn("attempt=1", self.federation.log(name))
            self.assertNotIn("attempt=2", self.federation.log(name))

    def test_of_more_clients_than_the_plan_adds_up_each_round_draws_as_many(self):
        run = self.finish(plan(max_cohort=4))
        self.assertEqual([r["contributions"] for r in run["rounds"]], [4, 4])

    def rounds_done(self, run):
        return self.federation.run_state(run)["rounds_done"]

    def test_a_restored_coordinator_burns_the_rounds_in_which_its_clients_have_agreed(self):
        run = self.federation.start_run(plan(count=12))
        self.federation.wait_until("a round", lambda: self.rounds_done(run) >= 1)
        state = self.federation.folder / "coordinator"
        backup = self.federation.run(
            "fedtune-coordinator", "backup", "--state-dir", state, "--backup-dir",
            self.federation.folder / "backups").stdout.strip()
        least = self.rounds_done(run)
        self.federation.wait_until("three more", lambda: self.rounds_done(run) >= least + 3)
        self.federation.kill("coordinator")
        lost = state.rename(self.federation.folder / "lost")
        state.mkdir()
        shutil.copytree(lost / "keys", state / "keys")
        self.federation.run("fedtune-coordinator", "restore", "--from", backup,
                            "--state-dir", state)
        self.federation.start_coordinator(listen=self.federation.address)
        ended = self.federation.accept_restored_log(run, NAMES)
        self.assertEqual(ended["state"], "finished", ended["reason"])
        burnt = [r["round"] for r in ended["rounds"] if "burnt" in r]
        self.assertGreaterEqual(len(burnt), 2)
        self.assertEqual(burnt, list(range(burnt[0], burnt[0] + len(burnt))))
        # The last client may have accepted the log when the others were a quorum of four.
        taken = [r["contributions"] for r in ended["rounds"] if "burnt" not in r]
        self.assertGreaterEqual(min(taken), 4)

    def test_a_roster_that_is_renewed_within_a_round_opens_its_next_attempt(self):
        run = self.federation.start_run(plan(count=2, steps=40, deadline_s=120))
        self.federation.wait_until("everyone's work", lambda: all(
            "round assigned" in self.federation.log(name) for name in NAMES))
        self.federation.kill("coordinator")
        self.federation.run("fedtune-ca", "roster", "sign", "--dir", self.federation.folder / "ca",
                            "--out", self.federation.roster)
        self.federation.start_coordinator(listen=self.federation.address)
        state = self.federation.wait_for_end(run)
        self.assertEqual(state["state"], "finished", state["reason"])
        self.assertEqual([(r["attempts"], r["contributions"]) for r in state["rounds"]],
                         [(2, 5), (1, 5)])

    def test_a_client_whose_policy_wants_more_company_declines(self):
        name = NAMES[4]
        self.federation.stop(name)
        self.start_client(name, "min_cohort = 10\n")
        self.federation.wait_for_clients(len(NAMES))
        run = self.finish(plan(count=1))
        declined = [c for c in run["clients"] if c["state"] == "declined"]
        self.assertEqual([c["institution"] for c in declined], [name])
        self.assertIn("10", declined[0]["reason"])
        self.assertEqual(run["rounds"][0]["contributions"], 4)


if __name__ == "__main__":
    unittest.main(verbosity=2)
