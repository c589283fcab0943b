#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Bad plans, data, models, certificates and disks, given to real processes.

    bad_input_test.py PROGRAMS_DIR

Each gets one message (what, where, what to do) and the documented exit code,
and harms nobody but the one who gave it. Contributions that are wrong are in
coordinator/rpc/training_service_test.cpp: no client of ours makes one.
"""

import contextlib
import hashlib
import json
import os
import pathlib
import resource
import shutil
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import unittest

from federation import BASE_MODEL, DATA, SITES, Federation, patient

PROGRAMS = sys.argv.pop(1)
PLAN = f'''name = "icd10"
base_model = "{BASE_MODEL}"
[adapter]
rank = 4
targets = ["attention"]
[training]
steps = 2
batch_size = 4
learning_rate = 1e-3
sequence_length = 128
[rounds]
count = 2
quorum = 2
deadline = "{patient(60)}s"
[aggregation]
mode = "plain"
'''
OTHER_DIGEST = "sha256:" + 64 * "0"


def earlier_digest(folder):
    """What fedtune called a base model until its digest covered the tokenizer's configuration."""
    text = "fedtune base model 1\n"
    for file in sorted(pathlib.Path(folder).iterdir()):
        if file.name in ("config.json", "tokenizer.json") or file.suffix == ".safetensors":
            content = file.read_bytes()
            text += f"{file.name} {len(content)} {hashlib.sha256(content).hexdigest()}\n"
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def copy_of_base_model(folder):
    """A base model that may be spoilt."""
    shutil.copytree(BASE_MODEL, folder)
    for file in folder.iterdir():
        file.chmod(0o644)
    return folder / "model.safetensors"


class BadInputTest(unittest.TestCase):
    """One federation for all tests; none of them may harm it."""

    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(cls.enterClassContext(
            tempfile.TemporaryDirectory(prefix="fedtune-")))
        cls.federation = cls.enterClassContext(Federation(PROGRAMS, cls.folder))
        cls.federation.make_authority()
        cls.federation.start_coordinator()
        cls.records = (DATA / SITES[1] / "train.jsonl").read_text(encoding="utf-8").splitlines()
        good, bad_data, bad_model = SITES
        cls.federation.start_client(good)
        cls.federation.start_client(bad_data, train=cls.data_with_two_bad_records())
        weights = copy_of_base_model(cls.folder / "other-model")
        weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
        cls.no_model = cls.folder / "unmounted/models"
        cls.federation.start_client(bad_model,
                                    base_model=f'{weights.parent}", "{cls.no_model}')
        cls.federation.wait_for_clients(len(SITES))

    @classmethod
    def data_with_two_bad_records(cls):
        """A broken line, and an answer that is longer than the model's context."""
        long = json.loads(cls.records[0])
        long["output"] = " ".join(3000 * ["fracture"])
        lines = [*cls.records[:3], '{"instruction": "x', json.dumps(long), *cls.records[3:]]
        file = cls.folder / "two-bad.jsonl"
        file.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return file

    def file(self, name, text):
        """Writes a file and returns its path."""
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        return path

    def signed_roster(self):
        """One of the authority's, which the coordinator does not have."""
        roster = self.folder / "signed.json"
        self.federation.run("fedtune-ca", "roster", "sign", "--dir", self.folder / "ca",
                            "--out", roster)
        return roster

    def coordinators_keys(self):
        keys = self.folder / "coordinator/keys"
        return ["--certificate", keys / "certificate.pem", "--key", keys / "key.pem",
                "--authority", keys / "authority.pem"]

    def refused(self, done, *words):
        """Nothing but one error, which says all of `words`."""
        self.assertEqual(done.stdout, "")
        errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
        self.assertEqual(len(errors), 1, done.stderr)
        for word in words:
            self.assertIn(word, done.stderr)

    # ---- Plans ----

    def test_a_plan_is_refused_with_line_and_remedy(self):
        cases = {
            "unknown key": ("steps = 2", "stepz = 2", 'plan.toml:7: unknown key "stepz" in '
                            "[training]; did you mean steps?"),
            "rank of 0": ("rank = 4", "rank = 0", "plan.toml:4: rank in [adapter] must be from 1"),
            "no such layer": ('"attention"', '"w_pack"', 'plan.toml:5: target "w_pack" matches no '
                              "layer of icd-moe (attention has q_proj, kv_a_proj_with_mqa"),
            "partly": ('"attention"', '"q_proj", "v_proj"', 'plan.toml:5: target "v_proj" matches '
                       "no layer of icd-moe (attention has q_proj, kv_a_proj_with_mqa"),
            "other digest": ("[adapter]", f'base_digest = "{OTHER_DIGEST}"\n[adapter]',
                             f"but the plan wants base_digest {OTHER_DIGEST}"),
        }
        for what, (old, new, words) in cases.items():
            with self.subTest(what):
                plan = self.file("plan.toml", PLAN.replace(old, new))
                for command in (["plan", "check"], ["run", "start"]):
                    done = self.federation.fedtune(*command, plan, expect=2)
                    self.refused(done, words)

    def test_a_plan_with_the_digest_of_before_goes_by_it_and_is_told(self):
        earlier = earlier_digest(BASE_MODEL)
        plan = self.file("plan.toml", PLAN.replace("[adapter]",
                                                   f'base_digest = "{earlier}"\n[adapter]'))
        done = self.federation.fedtune("plan", "check", plan)
        self.assertIn(earlier, done.stdout)
        self.assertIn("icd-moe: goes by an earlier digest, which says nothing of the tokenizer's "
                      "configuration and the chat template; the one that covers them is sha256:",
                      done.stderr)

    def test_a_base_model_that_is_nowhere(self):
        plan = self.file("plan.toml", PLAN.replace(str(BASE_MODEL), "deepseek-v9"))
        done = self.federation.fedtune("run", "start", plan, expect=2)
        self.refused(done, "plan.toml:2: base model \"deepseek-v9\" was not found", "--models")

    # ---- Clients ----

    def test_a_run_goes_on_without_the_guilty_one(self):
        good, bad_data, bad_model = SITES
        run = self.federation.wait_for_end(self.federation.start_run(PLAN))
        self.assertEqual(run["state"], "finished", run["reason"])
        self.assertEqual([r["contributions"] for r in run["rounds"]], [2, 2])
        clients = {client["institution"]: client for client in run["clients"]}
        self.assertEqual(clients[good]["state"], "done")
        self.assertEqual(clients[bad_model]["state"], "declined")
        self.assertIn("sha256:", clients[bad_model]["reason"])
        # What it has where is its own affair: its log says it, from the beginning.
        self.assertIn("cannot read the base model in <base model>", clients[bad_model]["reason"])
        self.assertNotIn(str(self.folder), clients[bad_model]["reason"])
        log = self.federation.log(bad_model)
        self.assertIn(f"a base model cannot be read; runs that need it are declined "
                      f"path={self.no_model} ", log)
        self.assertRegex(log, rf'run declined .*{self.no_model}: No such file')
        # The two bad records are left out and named, in the log of their owner only.
        self.assertEqual(clients[bad_data]["examples"], len(self.records))
        log = self.federation.log(bad_data)
        self.assertIn("two-bad.jsonl:4: not JSON", log)
        self.assertNotIn("fracture", log)

    def test_an_answer_longer_than_the_context(self):
        long = json.loads(self.records[0])
        long["output"] = " ".join(3000 * ["fracture"])
        data = self.file("long.jsonl", json.dumps(long) + "\n")
        done = self.federation.run("fedtune-client", "evaluate", "--base", BASE_MODEL,
                                   "--data", data, expect=2)
        self.refused(done, "long.jsonl:1: the answer has 6,001 tokens", "a context of 512")

    def test_an_empty_data_set(self):
        data = self.file("empty.jsonl", "")
        for command in (["evaluate", "--base", BASE_MODEL, "--data", data],
                        ["serve", "--coordinator", self.federation.address, "--institution",
                         SITES[0], "--state-dir", self.folder / SITES[0], "--dataset",
                         f"letters:{data}"]):
            done = self.federation.run("fedtune-client", *command, expect=2)
            self.refused(done, "empty.jsonl: the data set has no records", '"instruction"')

    # ---- Base models ----

    def test_a_base_model_whose_copy_is_incomplete(self):
        weights = copy_of_base_model(self.folder / "cut-off")
        weights.write_bytes(weights.read_bytes()[:1_000_000])
        self.check_model(weights, "but the file has 1,000,000: the copy is incomplete")

    def test_a_base_model_whose_tensors_overlap(self):
        weights = copy_of_base_model(self.folder / "overlapping")
        content = weights.read_bytes()
        size = struct.unpack("<Q", content[:8])[0]
        header = json.loads(content[8:8 + size])
        tensors = [header[name] for name in header if name != "__metadata__"]
        tensors.sort(key=lambda tensor: tensor["data_offsets"][0])
        tensors[1]["data_offsets"] = [offset - 4 for offset in tensors[1]["data_offsets"]]
        changed = json.dumps(header).encode()
        weights.write_bytes(struct.pack("<Q", len(changed)) + changed + content[8 + size:])
        self.check_model(weights, "tensors overlap")

    def check_model(self, weights, words):
        """The model of these weights cannot be used, and `words` say why."""
        data = DATA / SITES[0] / "eval.jsonl"
        done = self.federation.run("fedtune-client", "evaluate", "--base", weights.parent,
                                   "--data", data, expect=2)
        self.assertIn("error: ", done.stderr)
        self.assertIn(words, done.stderr)

    # ---- Certificates and ports ----

    def test_a_certificate_of_another_authority(self):
        other = self.folder / "other-ca"
        self.federation.run("fedtune-ca", "init", "--federation", "north", "--dir", other)
        keys = self.folder / "eve"
        self.federation.issue("administrator", "eve", keys, authority=other)
        done = self.federation.fedtune("run", "list", keys=keys, expect=3)
        self.refused(done, "not good for this federation: another authority's, expired, or not")
        # With our authority's certificate beside it, the program sees it itself.
        shutil.copy(self.folder / "ca/ca.crt", keys / "authority.pem")
        done = self.federation.fedtune("run", "list", keys=keys, expect=3)
        self.refused(done, "certificate of another authority", "ask its custodian")

    def test_a_stranger_writes_no_line_of_its_own_into_the_log(self):
        host, port = self.federation.address.split(":")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        with socket.create_connection((host, int(port))) as connection:
            try:
                with context.wrap_socket(connection) as stranger:
                    self.assertEqual(stranger.recv(1), b"")
            except OSError:
                pass  # Refused in the handshake, or after it.
        self.federation.clients()  # A call after it: by now it is in the log, if ever.
        for line in self.federation.log("coordinator").splitlines():
            self.assertRegex(line, r"^\d{4}-\d{2}-\d{2}T\S+ (info|warning|error) ")

    def test_more_connections_than_descriptors(self):
        process = self.federation.processes["coordinator"]
        descriptors = len(os.listdir(f"/proc/{process.pid}/fd"))
        limit = resource.prlimit(process.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (descriptors + 2, limit[1]))
        host, port = self.federation.address.split(":")
        with contextlib.ExitStack() as connections:
            for _ in range(8):
                connections.enter_context(socket.create_connection((host, int(port))))
            self.federation.wait_until(
                "a word of it", lambda: "ulimit -n" in self.federation.log("coordinator"))
        self.assertTrue(self.federation.clients(), "they are gone, and it serves again")
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, limit)

    def test_a_port_that_is_in_use(self):
        port = self.federation.address.split(":")[-1]
        keys = self.folder / "coordinator/keys"
        done = self.federation.run(
            "fedtune-coordinator", "serve", "--state-dir", self.folder / "second",
            "--listen", self.federation.address, "--certificate", keys / "certificate.pem",
            "--key", keys / "key.pem", "--authority", keys / "authority.pem", expect=1)
        self.refused(done, f"port {port} is in use by another process", "--listen")

    def test_a_second_client_on_the_same_folder(self):
        good = SITES[0]
        first = self.federation.processes[good]
        done = self.federation.run("fedtune-client", "serve",
                                   "--config", self.folder / good / "client.toml", expect=1)
        self.refused(done, f"is in use by process {first.pid} on ", "stop that one")
        self.assertIsNone(first.poll())

    def test_a_coordinator_that_is_not_there(self):
        flags = ["127.0.0.1:1" if flag == self.federation.address else flag
                 for flag in self.federation.connection()]
        done = self.federation.run("fedtune", *flags, "run", "list", expect=4)
        self.refused(done, "cannot reach the coordinator at 127.0.0.1:1: nobody listens there")
        plan = self.file("plan.toml", PLAN)
        done = self.federation.run("fedtune", *flags, "plan", "check", plan, expect=4)
        self.assertIn("unknown: the coordinator has not told", done.stdout)
        plan = self.file("plan.toml", PLAN.replace("steps = 2", "stepz = 2"))
        done = self.federation.run("fedtune", *flags, "plan", "check", plan, expect=2)
        self.refused(done, 'plan.toml:7: unknown key "stepz"')

    def test_an_address_with_a_scheme(self):
        flags = [f"https://{flag}" if flag == self.federation.address else flag
                 for flag in self.federation.connection()]
        done = self.federation.run("fedtune", *flags, "run", "list", expect=2)
        self.refused(done, f'"https://{self.federation.address}" is not a coordinator\'s address',
                     "write host:port")

    # ---- Files that are none ----

    def test_a_file_that_is_not_there_is_wrong_usage(self):
        nowhere = self.folder / "nowhere"
        client = ["fedtune-client", "serve", "--config", self.folder / SITES[0] / "client.toml"]
        coordinator = ["fedtune-coordinator", "serve", "--state-dir", self.folder / "coordinator-2"]
        data = DATA / SITES[0] / "eval.jsonl"
        cases = [[*client, "--key", nowhere], [*client, "--certificate", nowhere],
                 [*client, "--policy", nowhere], [*client, "--federation-key", nowhere],
                 [*client, "--dataset", f"letters:{nowhere}"],
                 [*coordinator, "--key", nowhere],
                 [*coordinator, *self.coordinators_keys(), "--signing-roster", nowhere],
                 ["fedtune", *self.federation.connection(nowhere), "run", "list"],
                 ["fedtune", "plan", "check", nowhere],
                 ["fedtune-ca", "roster", "show", self.signed_roster(),
                  "--authority", nowhere],
                 ["fedtune-ca", "issue", "--dir", self.folder / "ca", "--request",
                  self.folder / SITES[0] / "keys/request.pem", "--role", "client", "--name",
                  SITES[0], "--out", nowhere / "x.pem"],
                 ["fedtune-ca", "roster", "sign", "--dir", self.folder / "ca", "--out",
                  nowhere / "roster.json"],
                 ["fedtune-ca", "roster", "sign", "--dir", nowhere, "--out", nowhere],
                 ["fedtune-ca", "issue", "--dir", self.folder / "ca", "--request", nowhere,
                  "--role", "client", "--name", "x", "--out", nowhere],
                 ["fedtune-client", "evaluate", "--base", BASE_MODEL, "--data", nowhere],
                 ["fedtune-client", "evaluate", "--base", nowhere, "--data", data],
                 ["fedtune-client", "base", "digest", nowhere]]
        for command in cases:
            with self.subTest(" ".join(map(str, command))):
                self.refused(self.federation.run(*command, expect=2), str(nowhere))

    def test_a_check_looks_at_the_federation_key_as_the_client_does(self):
        config = ["--config", self.folder / SITES[0] / "client.toml"]
        key = self.folder / "federation.key"
        self.federation.run("fedtune-ca", "federation-key", "--out", key)
        key.chmod(0o644)
        done = self.federation.run("fedtune-client", "check", *config, "--federation-key", key,
                                   "--json", expect=2)
        checks = {each["what"]: each for each in json.loads(done.stdout)["checks"]}
        self.assertEqual(checks["federation key"]["verdict"], "failed")
        self.assertIn(f"{key} can be used by others", checks["federation key"]["detail"])
        key.chmod(0o600)
        done = self.federation.run("fedtune-client", "check", *config, "--federation-key", key)
        self.assertIn(str(key), done.stdout)

    def test_a_folder_is_no_plan(self):
        done = self.federation.run("fedtune", "plan", "check", self.folder, expect=2)
        self.refused(done, f"cannot read {self.folder}: Is a directory")

    def test_a_base_model_whose_folder_has_no_name_in_utf_8_is_written_as_json(self):
        folder = self.folder / os.fsdecode(b"caf\xe9")
        copy_of_base_model(folder)
        (self.folder / "cafe").symlink_to(folder)
        plan = self.file("cafe.toml", PLAN.replace(str(BASE_MODEL), "./cafe"))
        done = self.federation.fedtune("plan", "check", plan, "--json")
        self.assertEqual(json.loads(done.stdout)["base_model"], "caf\ufffd")

    def test_the_certificate_of_another_institution_is_wrong_configuration(self):
        done = self.federation.run(
            "fedtune-client", "serve", "--config", self.folder / SITES[0] / "client.toml",
            "--institution", "somebody-else", expect=2)
        self.refused(done, f'the certificate is for "{SITES[0]}"')

    def test_a_restored_folder_without_keys_says_what_it_lacks(self):
        state = self.folder / "restored"
        done = self.federation.run(
            "fedtune-coordinator", "serve", "--state-dir", state, "--signing-roster",
            self.signed_roster(), expect=2)
        self.refused(done, "no key yet", f"{state}/keys/key.pem")

    def test_a_pipe_is_no_file(self):
        pipe = self.folder / "pipe"
        os.mkfifo(pipe, 0o600)
        client = ["fedtune-client", "serve", "--config", self.folder / SITES[0] / "client.toml"]
        cases = [["fedtune-client", "serve", "--config", pipe], [*client, "--key", pipe],
                 [*client, "--certificate", pipe], [*client, "--authority", pipe],
                 [*client, "--policy", pipe], [*client, "--federation-key", pipe],
                 [*client, "--dataset", f"letters:{pipe}"],
                 ["fedtune-coordinator", "serve", "--config", pipe],
                 ["fedtune", "--config", pipe, "run", "list"], ["fedtune", "plan", "check", pipe],
                 ["fedtune-client", "evaluate", "--base", BASE_MODEL, "--data", pipe]]
        for command in cases:
            with self.subTest(" ".join(map(str, command))):
                self.refused(self.federation.run(*command, expect=2), f"cannot read {pipe}: it is a pipe")

    def test_a_folder_of_models_that_is_not_there(self):
        plan = self.file("plan.toml", PLAN)
        done = self.federation.fedtune("--models", self.no_model, "plan", "check", plan, expect=2)
        self.refused(done, f"names {self.no_model}, and there is no such folder")

    # ---- Limits ----

    def test_too_little_address_space_is_said(self):
        keys = self.folder / "coordinator/keys"
        coordinator = ["fedtune-coordinator", "serve", "--state-dir", self.folder / "third",
                       "--listen", "127.0.0.1:0", "--certificate", keys / "certificate.pem",
                       "--key", keys / "key.pem", "--authority", keys / "authority.pem"]
        for command in (coordinator, ["fedtune", *self.federation.connection(), "run", "list"]):
            name, *arguments = map(str, command)
            done = subprocess.run(
                ["sh", "-c", 'ulimit -v 90000 && exec "$@"', "sh",
                 self.federation.programs / name, *arguments],
                capture_output=True, text=True, timeout=patient(30))
            self.assertEqual(done.returncode, 1, done.stderr)
            self.refused(done, "this process may use 92.2 MB of address space", "ulimit -v")

    # ---- Words of another encoding ----

    def test_text_that_is_not_utf_8(self):
        latin = os.fsdecode("für".encode("latin-1"))
        done = self.federation.fedtune("run", "stop", "run-none", "--reason", latin, expect=1)
        self.refused(done, "there is no run run-none")
        done = self.federation.fedtune("run", "show", latin, expect=1)
        self.refused(done, "there is no run f\\xfcr")
        done = self.federation.fedtune("client", "show", latin, expect=1)
        self.refused(done, "no client of f\\xfcr was ever seen")
        folder = self.folder / os.fsdecode("Modell für alle".encode("latin-1"))
        shutil.copytree(BASE_MODEL, folder)
        plan = self.file("plan.toml", PLAN.replace(str(BASE_MODEL), "."))
        plan = shutil.move(plan, folder / "plan.toml")
        done = self.federation.run("fedtune", "plan", "check", plan, "--json")
        self.assertEqual(json.loads(done.stdout)["base_model"], "Modell f\ufffdr alle")

    # ---- Disks ----

    def on_a_full_disk(self, disk, *command):
        """Runs a command where `disk` is one of 400 kB; fails, and says what is left there."""
        disk.mkdir(exist_ok=True)
        script = f'mount -t tmpfs -o size=400k tmpfs "{disk}" && {{ "$@"; code=$?; ' \
                 f'ls -A "{disk}"; exit $code; }}'
        done = subprocess.run(
            ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, "sh",
             *map(str, command)], capture_output=True, text=True, timeout=patient(60))
        self.assertEqual(done.returncode, 1, done.stderr)
        self.refused(subprocess.CompletedProcess([], 1, "", done.stderr), "disk full",
                     str(disk), "free")
        return done.stdout.split()

    def test_a_full_disk_leaves_nothing_with_a_final_name(self):
        if subprocess.run(["unshare", "--user", "--map-root-user", "--mount", "true"],
                          capture_output=True).returncode != 0:
            self.skipTest("this machine lets nobody mount a small disk")
        run = self.federation.wait_for_end(self.federation.start_run(
            PLAN.replace("rank = 4", "rank = 64")))["run_id"]
        disk = self.folder / "disk"
        fedtune = [self.federation.programs / "fedtune", *self.federation.connection()]
        for form in ("peft", "hf"):
            left = self.on_a_full_disk(disk, *fedtune, "--models", BASE_MODEL.parent, "model",
                                       "pull", run, "--format", form, "--out", disk / "pulled")
            self.assertEqual(left, [])
        left = self.on_a_full_disk(disk, self.federation.programs / "fedtune-client", "train",
                                   "--base", BASE_MODEL, "--data", DATA / SITES[0] / "train.jsonl",
                                   "--steps", "1", "--rank", "64", "--out", disk / "trained")
        self.assertEqual(left, [])


if __name__ == "__main__":
    unittest.main(verbosity=2)
