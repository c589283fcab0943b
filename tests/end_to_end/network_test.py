#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Rounds over bad networks: each client in a network namespace of its own.

    network_test.py PROGRAMS_DIR
"""

import fcntl
import heapq
import os
import random
import select
import struct
import subprocess
import sys
import tempfile
import threading
import time
import unittest

from federation import SITES, Federation, small_plan

PROGRAMS = sys.argv.pop(1)
HUB = "10.77.0.1"

# Of linux/if_tun.h
TUNSETIFF = 0x400454CA
IFF_TUN = 0x0001
IFF_NO_PI = 0x1000

# Of a wire: the share of packets that are lost, and come twice; how long they take, in
# seconds, at least and at most (so that they overtake each other). Each way.
GOOD_WIRE = (0, 0, 0, 0)
BAD_WIRE = (0.05, 0.05, 0.05, 0.15)
CUT = (1, 0, 0, 0)


def plan(count, deadline_s, steps, quorum):
    return small_plan(count, steps, quorum, deadline_s, batch_size=1, truncate_prompts=True)


class Network:
    """Namespaces that reach each other through this process, which loses packets, delays
    them, doubles them and lets them overtake each other: a TUN device in each. (The
    kernel's own netem is missing in many containers' kernels.)"""

    def __init__(self, names):
        self.numbers = {name: number for number, name in enumerate(["hub", *names], start=1)}
        self.prefix = f"ft{os.getpid()}"
        self.wires = {name: GOOD_WIRE for name in names}
        self.deaf = set()  # To them all is lost; from them all arrives.
        self.devices = {}
        self.on_their_way = []
        self.random = random.Random(7)
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self.forward, daemon=True)

    def space(self, name):
        return f"{self.prefix}-{self.numbers[name]}"

    def inside(self, name):
        """The command to run another by in somebody's namespace."""
        return ["ip", "netns", "exec", self.space(name)]

    def make(self):
        """Raises OSError or CalledProcessError where this is not permitted."""
        for name, number in self.numbers.items():
            device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
            self.devices[number] = device
            fcntl.ioctl(device, TUNSETIFF,
                        struct.pack("16sH22x", self.space(name).encode(), IFF_TUN | IFF_NO_PI))
            self.ip("netns", "add", self.space(name))
            self.ip("link", "set", self.space(name), "netns", self.space(name))
            for words in (["link", "set", "lo", "up"],
                          ["addr", "add", f"10.77.0.{number}/24", "dev", self.space(name)],
                          ["link", "set", self.space(name), "up"]):
                self.ip("-n", self.space(name), *words)
        self.thread.start()

    @staticmethod
    def ip(*words):
        subprocess.run(["ip", *words], check=True, capture_output=True)

    def remove(self):
        self.stopping.set()
        if self.thread.is_alive():
            self.thread.join()
        for name, number in self.numbers.items():
            if number in self.devices:
                os.close(self.devices[number])
            subprocess.run(["ip", "netns", "delete", self.space(name)], check=False,
                           capture_output=True)

    def client_of(self, one, other):
        """Everybody speaks with the hub only."""
        client = max(one, other)
        return next(name for name, number in self.numbers.items() if number == client)

    def forward(self):
        poll = select.poll()
        numbers = {device: number for number, device in self.devices.items()}
        for device in numbers:
            poll.register(device, select.POLLIN)
        while not self.stopping.is_set():
            self.deliver()
            for device, _ in poll.poll(2):
                packet = os.read(device, 65536)
                if packet[0] >> 4 == 4 and packet[16:19] == bytes([10, 77, 0]):
                    self.send(packet, numbers[device], packet[19])

    def send(self, packet, source, target):
        if target not in self.devices or source == target:
            return
        client = self.client_of(source, target)
        loss, twice, least, most = self.wires[client]
        if self.random.random() < loss or (client in self.deaf and source < target):
            return
        for _ in range(2 if self.random.random() < twice else 1):
            due = time.monotonic() + self.random.uniform(least, most)
            heapq.heappush(self.on_their_way, (due, self.random.random(), target, packet))

    def deliver(self):
        while self.on_their_way and self.on_their_way[0][0] <= time.monotonic():
            _, _, target, packet = heapq.heappop(self.on_their_way)
            try:
                os.write(self.devices[target], packet)
            except BlockingIOError:
                pass  # Its queue is full: lost, as on any wire.


class NetworkTest(unittest.TestCase):
    """Three clients and a coordinator."""

    def setUp(self):
        self.network = Network(SITES)
        self.addCleanup(self.network.remove)
        try:
            self.network.make()
        except (subprocess.CalledProcessError, OSError) as error:
            self.skipTest(f"no network namespaces here: {error} "
                          f"{getattr(error, 'stderr', b'')}")
        folder = self.enterContext(tempfile.TemporaryDirectory(prefix="fedtune-"))
        self.federation = self.enterContext(Federation(PROGRAMS, folder))
        self.federation.make_authority()
        self.federation.where = {name: self.network.inside(name) for name in SITES}
        self.federation.where["coordinator"] = self.network.inside("hub")
        self.federation.where["fedtune"] = self.network.inside("hub")
        self.federation.start_coordinator(f"{HUB}:0")
        for name in SITES:
            self.federation.start_client(name)
        self.federation.wait_for_clients(len(SITES))

    def finish(self, run):
        state = self.federation.wait_for_end(run)
        self.assertEqual(state["state"], "finished", state["reason"])
        return state, [r["contributions"] for r in state["rounds"]]

    def test_loss_delay_reordering_and_duplicates_change_nothing(self):
        text = plan(count=5, deadline_s=60, steps=2, quorum=3)
        good, _ = self.finish(self.federation.start_run(text))
        for name in SITES:
            self.network.wires[name] = BAD_WIRE
        bad, contributions = self.finish(self.federation.start_run(text))
        self.assertEqual(contributions, [3] * 5)
        self.assertEqual(bad["adapter"], good["adapter"])
        for name in SITES:
            self.assertNotIn("attempt=2", self.federation.log(name))

    def contributions(self, run):
        """Of each round that is done."""
        return [r["contributions"] for r in self.federation.run_state(run)["rounds"]]

    def wait_for_rounds(self, run, counts, what):
        """Waits until rounds that end from now on have had as many contributions."""
        before = len(self.contributions(run))
        self.federation.wait_until(
            what, lambda: counts(self.contributions(run)[before:]))

    def test_a_partition_costs_rounds_their_deadline_and_heals(self):
        # More rounds than it needs: how soon a client is back depends on when it asks.
        away = SITES[2]
        run = self.federation.start_run(plan(count=500, deadline_s=8, steps=10, quorum=2))
        self.wait_for_rounds(run, lambda counts: 3 in counts, "a round of all")
        self.network.wires[away] = CUT
        self.wait_for_rounds(run, lambda counts: counts.count(2) >= 2, "rounds without one")
        for _ in range(4):  # It flaps.
            self.network.wires[away] = GOOD_WIRE
            time.sleep(0.3)
            self.network.wires[away] = CUT
            time.sleep(0.3)
        self.network.wires[away] = GOOD_WIRE
        self.network.deaf.add(away)
        self.wait_for_rounds(run, lambda counts: counts.count(2) >= 2, "rounds without one")
        self.network.deaf.remove(away)
        self.wait_for_rounds(run, lambda counts: counts[-3:] == [3, 3, 3], "rounds of all again")
        self.federation.fedtune("run", "stop", run, "--reason", "all were there again")
        counts = self.contributions(run)
        self.assertTrue(all(count in (2, 3) for count in counts), counts)


if __name__ == "__main__":
    unittest.main(verbosity=2)
