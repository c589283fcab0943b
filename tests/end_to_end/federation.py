# SPDX-License-Identifier: Apache-2.0
"""A federation of real processes on this machine, for tests."""

import contextlib
import itertools
import json
import os
import pathlib
import shutil
import signal
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BASE_MODEL = ROOT / "examples/base_model/icd-moe"
DATA = ROOT / "examples/icd10"

# In a client's configuration: a checkpoint after each step.
EAGER = "[training]\ncheckpoint_seconds = 0.000001\n"

SITES = ["cardiology-hospital", "oncology-hospital", "neuro-psychiatric"]


def patient(seconds):
    """As long as that, or longer where programs are slower: under sanitizers. Every
    deadline and timeout of these tests goes through here."""
    return round(seconds * float(os.environ.get("FEDTUNE_TEST_PATIENCE", "1")))


TIMEOUT_S = patient(300)


def small_plan(count=3, steps=2, quorum=2, deadline_s=60, seed=7, batch_size=4,
               sequence_length=128, truncate_prompts=False, mode="plain"):
    """A small plan, of well under a second a round; a secure one lacks its [secure]."""
    return f'''
name = "icd10"
base_model = "{BASE_MODEL}"
[adapter]
rank = 4
targets = ["attention"]
[training]
steps = {steps}
batch_size = {batch_size}
learning_rate = 1e-3
sequence_length = {sequence_length}
truncate_prompts = {str(truncate_prompts).lower()}
seed = {seed}
[rounds]
count = {count}
quorum = {quorum}
deadline = "{patient(deadline_s)}s"
[aggregation]
mode = "{mode}"
method = "fedit"
'''


def secure_plan(count=2, steps=2, deadline_s=60, phase_s=20, max_cohort=5):
    """A small plan of five institutions, of which one may be missing."""
    return small_plan(count, steps, quorum=4, deadline_s=deadline_s, mode="secure") + f'''
[secure]
min_cohort = 4
max_cohort = {max_cohort}
max_weight = 2048
phase_deadline = "{patient(phase_s)}s"
'''


def few_lines(source, target):
    """Copies the first records of a data set: an evaluation of all takes longer than all else
    that most tests do."""
    with open(source, encoding="utf-8") as lines:
        target.write_text("".join(itertools.islice(lines, 16)), encoding="utf-8")


class Failed(Exception):
    """A command that did not end as it should have."""


class Unreachable(Failed):
    """It did not reach the coordinator."""


class Federation:
    """An authority, a coordinator, an administrator and some clients.

    Use it in a `with` statement: at its end every process is gone.
    """

    def __init__(self, programs, folder):
        self.programs = pathlib.Path(programs)
        self.folder = pathlib.Path(folder)
        self.processes = {}
        self.where = {}  # By name of a daemon, or of "fedtune": a command to run it by.
        self.address = None
        self.coordinator_flags = []  # More of them.

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for name in list(self.processes):
            self.stop(name)

    # ---- Commands ----

    def run(self, program, *arguments, expect=0):
        """Runs a command to its end and returns what it printed."""
        command = [*self.where.get(program, []), self.programs / program, *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S)
        if done.returncode != expect:
            failed = Unreachable if done.returncode == 4 else Failed
            raise failed(f"{program} {' '.join(map(str, arguments))} ended with "
                         f"{done.returncode}, not {expect}:\n{done.stdout}{done.stderr}"
                         f"{self.logs()}")
        return done

    def fedtune(self, *arguments, keys=None, expect=0):
        """Runs a command as the administrator, or with other keys."""
        return self.run("fedtune", *self.connection(keys), *arguments, expect=expect)

    def connection(self, keys=None):
        """The flags with which the administrator's commands reach the coordinator."""
        keys = keys or self.folder / "ada"
        return ["--coordinator", self.address, "--certificate", keys / "certificate.pem",
                "--key", keys / "key.pem", "--authority", keys / "authority.pem"]

    # ---- Keys ----

    def make_authority(self):
        """Makes the authority and the administrator's keys."""
        self.run("fedtune-ca", "init", "--federation", "north", "--dir", self.folder / "ca")
        self.issue("administrator", "ada", self.folder / "ada")

    def issue(self, role, name, directory, authority=None):
        """Makes key, certificate and authority files in `directory`."""
        authority = authority or self.folder / "ca"
        self.run("fedtune-ca", "request", "--federation", "north", "--role", role,
                 "--name", name, "--dir", directory)
        self.run("fedtune-ca", "issue", "--dir", authority,
                 "--request", directory / "request.pem", "--role", role, "--name", name,
                 "--out", directory / "certificate.pem")
        shutil.copy(authority / "ca.crt", directory / "authority.pem")

    def sign_roster(self, names):
        """Makes these institutions' keys and the authority's roster of them."""
        for name in names:
            self.issue("client", name, self.folder / name / "keys")
        self.run("fedtune-ca", "roster", "sign", "--dir", self.folder / "ca",
                 "--out", self.roster)

    @property
    def roster(self):
        """The signing roster, once there is one."""
        return self.folder / "roster.json"

    # ---- Daemons ----

    def start_coordinator(self, listen="127.0.0.1:0", fail_point=""):
        """Starts the coordinator, with new keys the first time; on a free port. It has
        the signing roster if there is one, and may be killed at a fail point."""
        state = self.folder / "coordinator"
        if not state.exists():
            self.issue("coordinator", "hub", state / "keys")
        roster = ["--signing-roster", self.roster] if self.roster.exists() else []
        process = self._start("coordinator", "fedtune-coordinator", "serve",
                              "--state-dir", state, "--listen", listen, *roster,
                              *self.coordinator_flags,
                              fail_point=fail_point)
        line = process.stdout.readline()
        if not line.startswith("listening on "):
            if fail_point:
                return  # Killed before it served.
            raise Failed(f"the coordinator did not start:\n{self.log('coordinator')}")
        self.address = line.split()[-1]

    def start_client(self, name, policy="", base_model=BASE_MODEL, train=None, site=None,
                     keys="", fail_point=""):
        """Starts an institution's client, with new keys the first time; on the data of
        `site`, if it is not its own. `keys` are more lines of its configuration. It may
        be killed at a fail point."""
        data = DATA / (site or name)
        state = self.folder / name
        if not (state / "keys").exists():
            self.issue("client", name, state / "keys")
        (state / "policy.toml").write_text(policy)
        few_lines(data / "eval.jsonl", state / "eval.jsonl")
        (state / "client.toml").write_text(f'''
coordinator = "{self.address}"
institution = "{name}"
state_dir = "."
base_models = ["{base_model}"]
policy = "policy.toml"
{keys}
[[datasets]]
name = "icd10"
train = "{train or data / "train.jsonl"}"
eval = "eval.jsonl"
[device]
kind = "cpu"
threads = 1
''')
        self._start(name, "fedtune-client", "serve", "--config", state / "client.toml",
                    fail_point=fail_point)

    def _start(self, name, program, *arguments, fail_point=""):
        environment = dict(os.environ)
        if fail_point:
            environment["FEDTUNE_FAIL_POINT"] = fail_point
        with open(self.folder / f"{name}.log", "a", encoding="utf-8") as log:
            self.processes[name] = subprocess.Popen(
                [*self.where.get(name, []), self.programs / program, *map(str, arguments)],
                stdout=subprocess.PIPE,
                stderr=log, text=True, env=environment)
        return self.processes[name]

    def log(self, name):
        """All that a daemon has said so far."""
        return (self.folder / f"{name}.log").read_text(encoding="utf-8")

    def logs(self):
        """All that those who run have said so far, for whoever looks into a failure."""
        return "".join(f"\n== {name}\n{self.log(name)}" for name in self.processes)

    def stop(self, name):
        """Asks a daemon to end and returns its exit code."""
        process = self.processes.pop(name)
        process.send_signal(signal.SIGTERM)
        try:
            code = process.wait(timeout=patient(30))
        except subprocess.TimeoutExpired:
            process.kill()
            code = process.wait()
        process.stdout.close()
        return code

    def kill(self, name):
        """Ends a daemon without a word, as a power cut does."""
        process = self.processes.pop(name)
        process.kill()
        process.wait()
        process.stdout.close()

    def wait_until_killed(self, name):
        """Waits until a daemon has killed itself, as at a fail point."""
        process = self.processes[name]
        self.wait_until(f"the end of {name}", lambda: process.poll() is not None)
        del self.processes[name]
        process.stdout.close()
        if process.returncode != -signal.SIGKILL:
            raise Failed(f"{name} ended with {process.returncode}:\n{self.log(name)}")

    @contextlib.contextmanager
    def standing_still(self, name):
        """A daemon that does nothing for as long as a `with` statement takes."""
        process = self.processes[name]
        process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            process.send_signal(signal.SIGCONT)

    # ---- What a client stores of its rounds ----

    def stored(self, name, kind="*"):
        """The files of a kind, "checkpoint" or "result"."""
        return list((self.folder / name / "rounds").glob(f"*.{kind}"))

    def has_trained(self, name):
        """Whether it has stored a checkpoint with a step in it: one of the evaluation
        before has no values, and is small. Needs EAGER."""
        try:
            return any(file.stat().st_size > 4096 for file in self.stored(name, "checkpoint"))
        except FileNotFoundError:
            return False  # Gone between two looks.

    def of_log(self, name, command):
        """What `fedtune-client log` says at an institution."""
        config = self.folder / name / "client.toml"
        return json.loads(self.run("fedtune-client", "log", command, "--config", config,
                                   "--json").stdout)

    def accept_restored_log(self, run, names):
        """What administrators do when the coordinator was restored: a run that is under way waits,
        as all clients refuse the log, and says who does; each institution accepts it, and the run
        goes on by itself. Returns what became of the run."""
        for name in names:
            self.wait_until(f"{name} refuses", lambda: self.of_log(name, "show")["refused"])
        waiting = self.wait_until("a run that waits", lambda: self._waits_for_log(run, names))
        if waiting.get("time_left_ms", 0) > 0:
            raise Failed(f"{run} does not wait for as long as it takes: {waiting}")
        for name in names:
            self.of_log(name, "accept")
        return self.wait_for_end(run)

    def _waits_for_log(self, run, names):
        state = self.run_state(run)
        refusing = [c["institution"] for c in state["clients"] if c["state"] == "refusing"]
        says_so = "fedtune-client log accept" in state.get("reason", "")
        return state if says_so and sorted(refusing) == sorted(names) else None

    # ---- Waiting ----

    def wait_until(self, what, condition):
        """Asks again and again until `condition` holds, and returns its value. While its disk
        stands still, for a dozen seconds on a busy machine, a coordinator is not reached."""
        deadline = time.monotonic() + TIMEOUT_S
        while time.monotonic() < deadline:
            with contextlib.suppress(Unreachable):
                value = condition()
                if value:
                    return value
            time.sleep(0.05)
        raise Failed(f"{what} did not come about{self.logs()}")

    def wait_for_clients(self, count):
        """Waits until so many clients are connected."""
        self.wait_until(f"{count} connected clients", lambda: sum(
            client["connected"] for client in self.clients()) == count)

    def clients(self):
        """What the coordinator knows of every client."""
        out = self.fedtune("client", "list", "--json").stdout
        return [json.loads(line) for line in out.splitlines()]

    # ---- Runs ----

    def start_run(self, plan):
        """Starts a run and returns its id."""
        file = self.folder / "plan.toml"
        file.write_text(plan)
        return json.loads(self.fedtune("run", "start", file, "--json").stdout)["run_id"]

    def run_state(self, run):
        """A run as it is."""
        return json.loads(self.fedtune("run", "show", run, "--json").stdout)

    def wait_for_end(self, run):
        """Waits for the end of a run and returns what became of it."""
        return self.wait_until(f"the end of {run}", lambda: self._ended(run))

    def _ended(self, run):
        state = self.run_state(run)
        return state if state["state"] in ("finished", "stopped", "failed") else None
