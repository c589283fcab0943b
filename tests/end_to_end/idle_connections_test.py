#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Rounds beside a thousand connections that do nothing.

    idle_connections_test.py PROGRAMS_DIR

What they cost a round is measured by the time that the coordinator computes: on a machine
with other work the time that passes says nothing.
"""

import contextlib
import os
import pathlib
import resource
import socket
import ssl
import sys
import tempfile
import time
import unittest

from federation import SITES, Federation, patient, small_plan

PROGRAMS = sys.argv.pop(1)
CLIENTS = SITES[:2]
HALF_OPEN = 400    # They never begin the handshake.
HANDSHAKEN = 600   # They end it, with a certificate of the federation, and say nothing.


class IdleConnectionsTest(unittest.TestCase):
    """A coordinator that was started with the usual limit of 1,024 descriptors."""

    def setUp(self):
        self.limit = resource.getrlimit(resource.RLIMIT_NOFILE)
        if self.limit[1] < 4096:
            self.skipTest("this user may not have two thousand connections")
        folder = self.enterContext(tempfile.TemporaryDirectory(prefix="fedtune-"))
        self.federation = self.enterContext(Federation(PROGRAMS, folder))
        self.federation.make_authority()
        resource.setrlimit(resource.RLIMIT_NOFILE, (1024, self.limit[1]))
        self.federation.start_coordinator()
        resource.setrlimit(resource.RLIMIT_NOFILE, (4096, self.limit[1]))
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, self.limit)
        for name in CLIENTS:
            self.federation.start_client(name)
        self.federation.wait_for_clients(len(CLIENTS))
        self.open = self.enterContext(contextlib.ExitStack())

    def coordinator(self, file):
        pid = self.federation.processes["coordinator"].pid
        return pathlib.Path(f"/proc/{pid}/{file}").read_text(encoding="ascii")

    def computed(self):
        """Seconds of the processor that the coordinator has taken so far."""
        fields = self.coordinator("stat").rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory_mib(self):
        lines = self.coordinator("status").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024

    def cost_of_a_run(self):
        """What one that ends well takes of the processor, and of time."""
        begin, before = time.monotonic(), self.computed()
        state = self.federation.wait_for_end(self.federation.start_run(
            small_plan(count=40, batch_size=1, truncate_prompts=True)))
        self.assertEqual(state["state"], "finished", state["reason"])
        return self.computed() - before, time.monotonic() - begin

    def cost_of_runs(self):
        """The least of three: other work on the machine only adds to it, also to the time of the
        processor, whose caches it takes."""
        return [min(values) for values in zip(*(self.cost_of_a_run() for _ in range(3)))]

    def connect(self):
        host, port = self.federation.address.rsplit(":", 1)
        return self.open.enter_context(socket.create_connection((host, int(port)), timeout=60))

    def handshake(self):
        keys = self.federation.folder / CLIENTS[0] / "keys"
        context = ssl.create_default_context(cafile=keys / "authority.pem")
        context.load_cert_chain(keys / "certificate.pem", keys / "key.pem")
        context.set_alpn_protocols(["h2"])
        return self.open.enter_context(
            context.wrap_socket(self.connect(), server_hostname="coordinator.fedtune"))

    def test_they_do_not_hold_up_a_round_and_are_ended(self):
        self.cost_of_a_run()
        (alone, alone_s), memory = self.cost_of_runs(), self.memory_mib()
        idle = [self.connect() for _ in range(HALF_OPEN)]
        idle += [self.handshake() for _ in range(HANDSHAKEN)]
        beside, beside_s = self.cost_of_runs()
        print(f"a run of 40 rounds took the coordinator {alone:.2f} s of the processor alone and "
              f"{beside:.2f} s beside {len(idle)} idle connections ({alone_s:.2f} and "
              f"{beside_s:.2f} s passed; the least of 3), which took "
              f"{self.memory_mib() - memory:.0f} MiB", file=sys.stderr)
        # It is a tenth more at most; the rest is what other work on the machine does to figures.
        # Were each connection looked at whenever one has something to say, it would be many times.
        self.assertLess(beside, 3 * alone)
        self.assertLess(beside_s, 10 * alone_s)
        begin = time.monotonic()
        for connection in idle:
            connection.settimeout(patient(60))
            try:
                while connection.recv(4096):
                    pass
            except ConnectionResetError:
                pass
        self.assertLess(time.monotonic() - begin, patient(60))
        self.cost_of_a_run()


if __name__ == "__main__":
    unittest.main(verbosity=2)
