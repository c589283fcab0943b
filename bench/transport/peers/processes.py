# SPDX-License-Identifier: Apache-2.0
"""Processor time and peak memory of everything that carries a mark in its environment."""

import os
import pathlib
import signal
import threading
import uuid

MARK = "FEDTUNE_BENCH_MARK"
TICKS = os.sysconf("SC_CLK_TCK")


class Watch:
    """Looks at the marked processes ten times a second; ends them at its own end."""

    def __init__(self):
        self.mark = str(uuid.uuid4())
        self.cpu, self.peak, self.command = {}, {}, {}
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.watch)

    def environment(self, **more):
        return os.environ | {MARK: self.mark} | more

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join()
        self.look()
        for pid in self.marked():
            os.kill(pid, signal.SIGKILL)

    def watch(self):
        while not self.ended.wait(0.1):
            self.look()

    def marked(self):
        wanted = f"{MARK}={self.mark}".encode()
        found = []
        for folder in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                if wanted in (folder / "environ").read_bytes().split(b"\0"):
                    found.append(int(folder.name))
            except OSError:  # It has ended meanwhile, or is not ours.
                continue
        return found

    def look(self):
        for pid in self.marked():
            try:
                fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                status = pathlib.Path(f"/proc/{pid}/status").read_text()
                command = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
            except OSError:  # It has ended meanwhile.
                continue
            self.cpu[pid] = (int(fields[11]) + int(fields[12])) / TICKS
            if "VmHWM:" in status:
                kilobytes = int(status.split("VmHWM:")[1].split()[0])
                self.peak[pid] = max(self.peak.get(pid, 0), kilobytes / 1000)
                self.command[pid] = command.replace(b"\0", b" ").decode(errors="replace")

    def cpu_seconds(self, is_server):
        return sum(self.cpu[pid] for pid, command in self.command.items() if is_server(command))

    def peak_mb(self, is_server):
        """The sum of the peaks of the processes whose command `is_server` says yes to."""
        return sum(self.peak[pid] for pid, command in self.command.items() if is_server(command))
