#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A federation of real processes, and one fault after another, from one seed.

    soak.py PROGRAMS_DIR

FEDTUNE_SOAK_MINUTES (30), FEDTUNE_SOAK_CLIENTS (20) and FEDTUNE_SOAK_SEED (by the clock)
say how long, with how many, and which faults. What the seed repeats is the choice of
faults, not the moments at which they strike. `tests/run.sh soak` runs it.

Throughout, and at the end: every round has one release, in order, of the first process
that made it; a round that was seen never changes; no client counts twice; runs end well,
or without the quorum that a round needs, as on a machine that has too much to do, and then
go on from there when they are tried again; the coordinator's store is whole. In the second
half the coordinator is left alone, and its memory and its descriptors do not grow.
"""

import json
import os
import pathlib
import random
import signal
import statistics
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "end_to_end"))
from federation import BASE_MODEL, SITES, Failed, Federation  # pylint: disable=wrong-import-position

MINUTES = float(os.environ.get("FEDTUNE_SOAK_MINUTES", "30"))
CLIENTS = int(os.environ.get("FEDTUNE_SOAK_CLIENTS", "20"))
SEED = int(os.environ.get("FEDTUNE_SOAK_SEED", str(int(time.time()))))
PAUSE_S = (0.2, 2.0)      # Between faults.
MAY_GROW_MIB = 24         # Of memory, for what malloc keeps.
MAY_GROW_FILES = CLIENTS  # For connections that end and begin.
RETRIES = 10              # Of one run that has lost its quorum.

# What a release was is so for ever.
FIXED = ("round", "attempts", "contributions", "examples", "training_loss", "adapter", "started",
         "ended")


def plan(mode, rounds, seed):
    quorum = max(3, CLIENTS // 2)
    secure = (f'[secure]\nmin_cohort = {quorum}\nmax_cohort = {CLIENTS}\nassumed_corrupt = 0\n'
              'phase_deadline = "10s"\n')
    return f'''
name = "soak"
base_model = "{BASE_MODEL}"
[adapter]
rank = 4
targets = ["attention"]
[training]
steps = 1
batch_size = 1
learning_rate = 1e-3
sequence_length = 128
truncate_prompts = true
seed = {seed}
[rounds]
count = {rounds}
quorum = {quorum}
deadline = "15s"
[aggregation]
mode = "{mode}"
method = "fedit"
{secure if mode == "secure" else ""}
'''


class Broken(Exception):
    """What must always hold does not."""


def require(condition, what):
    if not condition:
        raise Broken(what)


class Soak:
    """One federation from its beginning to its end."""

    def __init__(self, federation):
        self.federation = federation
        self.random = random.Random(SEED)
        self.names = [f"site-{number:02}" for number in range(CLIENTS)]
        self.begin = time.monotonic()
        self.seen = {}       # What was released, by run and round.
        self.ended = []      # States of runs.
        self.retries = 0
        self.faults = {}
        self.samples = []    # Memory and descriptors of the coordinator, when left alone.

    # ---- The federation ----

    def set_up(self):
        self.federation.make_authority()
        self.federation.sign_roster(self.names)
        self.federation.start_coordinator()
        for name in self.names:
            self.start_client(name)
        self.federation.wait_for_clients(CLIENTS)

    def start_client(self, name, fail_point=""):
        site = SITES[self.names.index(name) % len(SITES)]
        self.federation.start_client(name, "min_cohort = 3\n", site=site, fail_point=fail_point)

    def elapsed(self):
        return (time.monotonic() - self.begin) / (60 * MINUTES)

    # ---- Faults ----

    def client_killed(self):
        name = self.random.choice(self.names)
        self.federation.kill(name)
        self.start_client(name)

    def client_stopped(self):
        name = self.random.choice(self.names)
        self.federation.stop(name)
        self.start_client(name)

    def clients_cut_off(self):
        """A third of them say nothing for a while, as behind a partition."""
        away = self.random.sample(self.names, max(1, CLIENTS // 3))
        for name in away:
            self.federation.processes[name].send_signal(signal.SIGSTOP)
        time.sleep(self.random.uniform(0.5, 3))
        for name in away:
            self.federation.processes[name].send_signal(signal.SIGCONT)

    def coordinator_killed(self):
        self.federation.kill("coordinator")
        self.federation.start_coordinator(self.federation.address)

    def coordinator_stopped(self):
        code = self.federation.stop("coordinator")
        require(code == 0, f"the coordinator ended with {code} when it was asked to")
        self.federation.start_coordinator(self.federation.address)

    def disk_full(self):
        """Some of what it stores does not find room, once each."""
        points = ["journal-open-before", "journal-append-before", "release-before",
                  "release-commit", "spool-create", "spool-write", "spool-sync"]
        chosen = self.random.sample(points, 3)
        self.federation.kill("coordinator")
        self.federation.start_coordinator(self.federation.address, ",".join(
            f"{point}@{self.random.randint(1, 9)}:error" for point in chosen))

    def strike(self):
        kinds = [self.client_killed, self.client_stopped, self.clients_cut_off]
        if self.elapsed() < 0.5:
            kinds += [self.coordinator_killed, self.coordinator_stopped, self.disk_full]
        fault = self.random.choice(kinds)
        self.faults[fault.__name__] = self.faults.get(fault.__name__, 0) + 1
        fault()

    # ---- What must hold ----

    def look_at(self, run):
        """Compares a run with what was seen of it before; whether it has ended."""
        state = self.federation.run_state(run)
        rounds = [{key: entry[key] for key in FIXED} for entry in state["rounds"]]
        # A release may be stored a moment before the run has counted it.
        require(state["rounds_done"] in (len(rounds), len(rounds) - 1),
                f"{run}: {state['rounds_done']} rounds done, {len(rounds)} released")
        require([r["round"] for r in rounds] == list(range(1, len(rounds) + 1)),
                f"{run}: rounds are missing or there twice")
        known = self.seen.setdefault(run, [])
        require(len(known) <= len(rounds), f"{run}: rounds have gone")
        for before, now in zip(known, rounds):
            require(before == now, f"{run}: a released round has changed: {before} {now}")
        for entry in rounds[len(known):]:
            require(entry["contributions"] <= CLIENTS, f"{run}: somebody counts twice")
        self.seen[run] = rounds
        return state if state["state"] in ("finished", "stopped", "failed") else None

    def sample(self):
        pid = self.federation.processes["coordinator"].pid
        status = pathlib.Path(f"/proc/{pid}/status").read_text(encoding="ascii")
        memory = next(int(line.split()[1]) for line in status.splitlines()
                      if line.startswith("VmRSS"))
        self.samples.append((memory / 1024, len(os.listdir(f"/proc/{pid}/fd"))))

    def growth(self, which):
        """From the first third of the samples to the last."""
        values = [sample[which] for sample in self.samples]
        third = len(values) // 3
        return statistics.median(values[-third:]) - statistics.median(values[:third])

    # ---- All of it ----

    def soak(self):
        number = 0
        while self.elapsed() < 1:
            number += 1
            mode = ("secure", "plain")[number % 2]
            # All come back from what struck the run before.
            self.federation.wait_for_clients(CLIENTS)
            run = self.federation.start_run(plan(mode, 30, number))
            state = self.strike_until_it_ends(run)
            for _ in range(RETRIES):
                if state["state"] != "failed" or "contributions it needs" not in state["reason"]:
                    break
                self.retries += 1
                self.federation.wait_for_clients(CLIENTS)
                self.federation.fedtune("run", "retry", run)
                state = self.strike_until_it_ends(run)
            self.ended.append(state["state"])
            require(state["state"] == "finished", f"{run} has {state['state']}: {state['reason']}")

    def strike_until_it_ends(self, run):
        state = None
        while state is None:
            time.sleep(self.random.uniform(*PAUSE_S))
            if self.elapsed() < 1:
                self.strike()
            if self.elapsed() > 0.5:
                self.sample()
            state = self.look_at(run)
        return state

    def check_at_the_end(self):
        for run in self.seen:
            self.look_at(run)
        self.federation.stop("coordinator")
        self.federation.run("fedtune-coordinator", "check", "--state-dir",
                            self.federation.folder / "coordinator")
        require(len(self.samples) >= 6, "too short to see whether memory grows")
        memory, files = self.growth(0), self.growth(1)
        require(memory < MAY_GROW_MIB, f"the coordinator's memory has grown by {memory:.1f} MiB")
        require(files <= MAY_GROW_FILES, f"{files} more descriptors are open")

    def report(self):
        rounds = sum(len(released) for released in self.seen.values())
        print(json.dumps({
            "seed": SEED, "minutes": MINUTES, "clients": CLIENTS, "runs": len(self.ended),
            "retries": self.retries, "rounds": rounds, "faults": self.faults,
            "memory_growth_mib": round(self.growth(0), 1) if len(self.samples) > 5 else None,
            "memory_mib": round(self.samples[-1][0], 1) if self.samples else None,
            "descriptor_growth": self.growth(1) if len(self.samples) > 5 else None}))


def main():
    with tempfile.TemporaryDirectory(prefix="fedtune-soak-") as folder, \
            Federation(sys.argv[1], folder) as federation:
        soak = Soak(federation)
        soak.set_up()
        soak.begin = time.monotonic()
        try:
            soak.soak()
            soak.check_at_the_end()
        except (Broken, Failed) as failure:
            soak.report()
            print(f"seed {SEED}: {failure}\n{federation.log('coordinator')[-4000:]}",
                  file=sys.stderr)
            return 1
        soak.report()
        return 0


if __name__ == "__main__":
    sys.exit(main())
