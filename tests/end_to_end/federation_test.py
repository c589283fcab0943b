#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs a whole federation of real processes through its good and bad days.

    federation_test.py PROGRAMS_DIR
"""

import array
import json
import sys
import tempfile
import time
import unittest

from federation import BASE_MODEL, DATA, SITES, Federation, patient, small_plan

PROGRAMS = sys.argv.pop(1)


def read_adapter(folder):
    """The tensors of a PEFT adapter by name: fp32, as safetensors stores them."""
    content = (folder / "adapter_model.safetensors").read_bytes()
    begin = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:begin])
    header.pop("__metadata__", None)
    return {name: array.array("f", content[slice(*(begin + x for x in entry["data_offsets"]))])
            for name, entry in header.items()}


class FederationTest(unittest.TestCase):
    """Each test has a federation of its own with three clients."""

    def setUp(self):
        folder = self.enterContext(tempfile.TemporaryDirectory(prefix="fedtune-"))
        self.federation = self.enterContext(Federation(PROGRAMS, folder))
        self.federation.make_authority()
        self.federation.start_coordinator()

    def start_clients(self):
        for site in SITES:
            self.federation.start_client(site)
        self.federation.wait_for_clients(len(SITES))

    def finish(self, text):
        """Starts a run and waits for its good end."""
        run = self.federation.wait_for_end(self.federation.start_run(text))
        self.assertEqual(run["state"], "finished", run["reason"])
        return run

    def test_a_coordinator_that_stands_still_finds_nobody_late(self):
        self.start_clients()
        run = self.federation.start_run(small_plan(count=1, steps=20, quorum=3, deadline_s=25))
        self.federation.wait_until("the first round", lambda: all(
            "round assigned" in self.federation.log(site) for site in SITES))
        with self.federation.standing_still("coordinator"):
            time.sleep(patient(26))
        rounds = self.federation.wait_for_end(run)["rounds"]
        self.assertEqual([(r["contributions"], r["attempts"]) for r in rounds], [(3, 1)])
        self.assertIn("the coordinator stood still", self.federation.log("coordinator"))

    def test_a_run_finishes_and_its_adapter_is_pulled(self):
        self.start_clients()
        run = self.finish(small_plan())
        self.assertEqual(run["rounds_done"], 3)
        self.assertEqual([r["contributions"] for r in run["rounds"]], [3, 3, 3])
        self.assertIsNotNone(run["first_evaluation"])
        self.assertIsNotNone(run["last_evaluation"])

        adapter = self.federation.folder / "adapter"
        self.federation.fedtune("model", "pull", run["run_id"], "--format", "peft",
                                "--out", adapter)
        result = self.federation.run("fedtune-client", "evaluate", "--base", BASE_MODEL,
                                     "--adapter", adapter, "--data",
                                     DATA / SITES[0] / "eval.jsonl", "--json")
        self.assertGreater(json.loads(result.stdout)["loss"], 0)

    def test_one_client_in_one_round_gives_what_local_training_gives(self):
        # Training without a federation draws its records as an institution "local" does.
        site = SITES[0]
        self.federation.start_client("local", site=site)
        self.federation.wait_for_clients(1)
        run = self.finish(small_plan(count=1, steps=5, quorum=1))
        pulled, trained = self.federation.folder / "pulled", self.federation.folder / "trained"
        self.federation.fedtune("model", "pull", run["run_id"], "--format", "peft",
                                "--out", pulled)
        self.federation.run("fedtune-client", "train", "--base", BASE_MODEL, "--threads", "1",
                            "--plan", self.federation.folder / "plan.toml",
                            "--data", DATA / site / "train.jsonl", "--out", trained)
        ours, theirs = read_adapter(pulled), read_adapter(trained)
        self.assertEqual(ours.keys(), theirs.keys())
        self.assertTrue(any(any(values) for name, values in ours.items() if "lora_B" in name))
        # The sum counts in steps of 2^-36; delta and sum are rounded to fp32, and AdamW
        # moved each value by little more than 5 steps of 1e-3.
        for name, values in ours.items():
            for mine, other in zip(values, theirs[name], strict=True):
                self.assertAlmostEqual(mine, other, delta=2**-36 + 2**-23 * (abs(other) + 6e-3))

    def test_the_same_plan_gives_the_same_adapter(self):
        self.start_clients()
        first = self.finish(small_plan())
        self.assertEqual(self.finish(small_plan())["adapter"], first["adapter"])
        self.assertNotEqual(self.finish(small_plan(seed=8))["adapter"], first["adapter"])

    def test_a_killed_client_is_waited_for_until_the_deadline(self):
        self.start_clients()
        deadline_s = 30
        run = self.federation.start_run(small_plan(count=1, steps=50, deadline_s=deadline_s))
        victim = SITES[0]
        self.federation.wait_until("the victim's training", lambda: (
            "round assigned" in self.federation.log(victim)))
        self.federation.kill(victim)
        killed_at = time.monotonic()
        self.federation.wait_until("the end of round 1", lambda: (
            self.federation.run_state(run)["rounds_done"] > 0))
        self.assertGreater(time.monotonic() - killed_at, patient(deadline_s) / 2)
        state = self.federation.wait_for_end(run)
        self.assertEqual(state["state"], "finished", state["reason"])
        self.assertEqual(state["rounds"][0]["contributions"], 2)

    def test_a_client_that_comes_back_takes_part_again(self):
        self.start_clients()
        run = self.federation.start_run(small_plan(count=3, steps=60, quorum=3,
                                                    deadline_s=200))
        victim = SITES[1]
        self.federation.wait_until("the victim's training", lambda: (
            "round assigned" in self.federation.log(victim)))
        self.federation.kill(victim)
        self.federation.start_client(victim)
        state = self.federation.wait_for_end(run)
        self.assertEqual(state["state"], "finished", state["reason"])
        self.assertEqual([r["contributions"] for r in state["rounds"]], [3, 3, 3])

    def test_a_policy_declines_and_the_administrator_sees_why(self):
        self.federation.start_client(SITES[0])
        self.federation.start_client(SITES[1])
        self.federation.start_client(SITES[2], policy="max_rank = 2\n")
        self.federation.wait_for_clients(3)
        run = self.finish(small_plan())
        reasons = {c["institution"]: (c["state"], c["reason"]) for c in run["clients"]}
        self.assertEqual(reasons[SITES[2]][0], "declined")
        self.assertIn("its policy allows at most 2", reasons[SITES[2]][1])

    def test_a_certificate_of_another_role_is_refused(self):
        client = self.federation.folder / SITES[0]
        self.federation.issue("client", SITES[0], client / "keys")
        # The program itself sees that the certificate is a client's.
        refused = self.federation.run(
            "fedtune", "--coordinator", self.federation.address,
            "--certificate", client / "keys/certificate.pem", "--key", client / "keys/key.pem",
            "--authority", client / "keys/authority.pem", "run", "list", expect=3)
        self.assertIn("client", refused.stderr)
        refused = self.federation.run(
            "fedtune-client", "serve", "--coordinator", self.federation.address,
            "--institution", "ada", "--state-dir", client, "--dataset",
            f"icd10:{DATA / SITES[0] / 'train.jsonl'}",
            "--certificate", self.federation.folder / "ada/certificate.pem",
            "--key", self.federation.folder / "ada/key.pem",
            "--authority", self.federation.folder / "ada/authority.pem", expect=3)
        self.assertIn("administrator", refused.stderr)

    def test_daemons_end_in_order_when_asked(self):
        self.start_clients()
        for site in SITES:
            self.assertEqual(self.federation.stop(site), 0)
        self.assertEqual(self.federation.stop("coordinator"), 0)

    def test_clients_wait_for_a_coordinator_that_is_away(self):
        self.start_clients()
        port = self.federation.address
        self.assertEqual(self.federation.stop("coordinator"), 0)
        self.federation.start_coordinator(listen=port)
        self.federation.wait_for_clients(len(SITES))
        self.finish(small_plan())


if __name__ == "__main__":
    unittest.main(verbosity=2)
