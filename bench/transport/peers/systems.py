# SPDX-License-Identifier: Apache-2.0
"""The same rounds in other systems: real processes over loopback, without TLS."""

import contextlib
import pathlib
import shutil
import socket
import subprocess
import time

from processes import Watch

HERE = pathlib.Path(__file__).resolve().parent
ROUNDS = 6  # The first one does not count.


class Failed(Exception):
    """A peer did not finish its rounds."""


def environment_of(peer):
    done = subprocess.run(
        [HERE.parents[2] / "tests/support/python_environment.sh", f"bench-transport-{peer}",
         HERE / f"requirements-{peer}.txt"],
        check=True, text=True, stdout=subprocess.PIPE)
    return pathlib.Path(done.stdout.strip()) / "bin"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def result(starts, watch, is_server):
    """Of the times at which rounds began."""
    if len(starts) < 3:
        raise Failed(f"only {len(starts)} rounds began")
    rounds = [b - a for a, b in zip(starts[1:], starts[2:])]
    return {"rounds": rounds, "cpu_s": watch.cpu_seconds(is_server) / len(starts),
            "peak_mb": watch.peak_mb(is_server)}


class Flower:
    """Deployment engine: SuperLink, one SuperNode for each client, and `flwr run`."""

    name = "flower"

    def __init__(self):
        self.bin = environment_of("flower")

    def measure(self, load, work, limit_s):
        app, times, home = work / "app", work / "times", work / "home"
        shutil.copytree(HERE / "flower_app", app)
        times.touch()
        with Watch() as watch, contextlib.ExitStack() as log_files:
            log = log_files.enter_context(open(work / "log", "w", encoding="utf-8"))
            environment = watch.environment(FLWR_HOME=str(home), FLWR_TELEMETRY_ENABLED="0",
                                            PATH=f"{self.bin}:/usr/bin:/bin")
            self.start(load, home, environment, log)
            submit = subprocess.Popen(
                [self.bin / "flwr", "run", app, "bench", "--run-config",
                 f'rounds={ROUNDS} clients={load.clients} megabytes={load.megabytes} '
                 f'tensors={load.tensors} times="{times}"'],
                env=environment, stdout=log, stderr=log)
            wait_for(lambda: len(times.read_text().split()) > ROUNDS
                     or submit.poll() not in (None, 0), limit_s)
        starts = [float(line) for line in times.read_text().split()]
        return result(starts, watch, lambda command: "flower-superlink" in command
                      or "flwr-serverapp" in command)

    def start(self, load, home, environment, log):
        port = free_port()
        home.mkdir()
        (home / "config.toml").write_text(
            f'[superlink]\ndefault = "bench"\n\n[superlink.bench]\n'
            f'address = "127.0.0.1:{port}"\ninsecure = true\n', encoding="utf-8")

        def spawn(*words):
            subprocess.Popen([self.bin / words[0], *words[1:]], env=environment, stdout=log,
                             stderr=log)

        spawn("flower-superlink", "--insecure", "--host", "127.0.0.1", "--port", str(port))
        wait_for(lambda: is_open(port), 60)
        for _ in range(load.clients):
            spawn("flower-supernode", "--insecure", "--superlink", f"127.0.0.1:{port}",
                  "--host", "127.0.0.1", "--port", str(free_port()))


class NvFlare:
    """The simulator: a process for the server and one for each client."""

    name = "nvflare"

    def __init__(self):
        self.bin = environment_of("nvflare")

    def measure(self, load, work, limit_s):
        times = work / "times"
        times.touch()
        with Watch() as watch, open(work / "log", "w", encoding="utf-8") as log:
            job = subprocess.Popen(
                [self.bin / "python", HERE / "nvflare_job.py", "--clients", str(load.clients),
                 "--megabytes", str(load.megabytes), "--rounds", str(ROUNDS + 1), "--work", work],
                cwd=work, stdout=log, stderr=log,
                env=watch.environment(BENCH_TIMES=str(times),
                                      PATH=f"{self.bin}:/usr/bin:/bin"))
            wait_for(lambda: job.poll() is not None, limit_s)
        first = {}
        for line in times.read_text().splitlines():
            number, when = line.split()
            first[int(number)] = min(first.get(int(number), float("inf")), float(when))
        return result([first[number] for number in sorted(first)], watch,
                      lambda command: "simulator_worker" not in command)


def is_open(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_for(done, limit_s):
    """Returns when it is done, or when the time is up: what has been measured counts."""
    end = time.monotonic() + limit_s
    while not done() and time.monotonic() < end:
        time.sleep(0.05)
