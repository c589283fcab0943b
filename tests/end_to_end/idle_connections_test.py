#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Rounds beside a thousand connections that do nothing.

    idle_connections_test.py PROGRAMS_DIR
"""

import contextlib
import resource
import socket
import ssl
import sys
import tempfile
import time
import unittest

from federation import BASE_MODEL, SITES, Federation, patient

PROGRAMS = sys.argv.pop(1)
CLIENTS = SITES[:2]
HALF_OPEN = 400    # They never begin the handshake.
HANDSHAKEN = 600   # They end it, with a certificate of the federation, and say nothing.


def plan():
    return f'''
name = "icd10"
base_model = "{BASE_MODEL}"
[adapter]
rank = 4
targets = ["attention"]
[training]
steps = 2
batch_size = 1
learning_rate = 1e-3
sequence_length = 128
truncate_prompts = true
[rounds]
count = 40
quorum = 2
deadline = "{patient(60)}s"
[aggregation]
mode = "plain"
'''


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

    def seconds_of_a_run(self):
        """A run that ends well, from its start to its last release."""
        begin = time.monotonic()
        state = self.federation.wait_for_end(self.federation.start_run(plan()))
        self.assertEqual(state["state"], "finished", state["reason"])
        return time.monotonic() - begin

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
        self.seconds_of_a_run()
        alone = sorted(self.seconds_of_a_run() for _ in range(3))[1]
        idle = [self.connect() for _ in range(HALF_OPEN)]
        idle += [self.handshake() for _ in range(HANDSHAKEN)]
        beside = sorted(self.seconds_of_a_run() for _ in range(3))[1]
        print(f"a run of 40 rounds: {alone:.2f} s alone, {beside:.2f} s beside {len(idle)} idle "
              "connections (medians of 3)", file=sys.stderr)
        self.assertLess(beside, 10 * alone)
        begin = time.monotonic()
        for connection in idle:
            connection.settimeout(patient(60))
            try:
                while connection.recv(4096):
                    pass
            except ConnectionResetError:
                pass
        self.assertLess(time.monotonic() - begin, patient(60))
        self.seconds_of_a_run()


if __name__ == "__main__":
    unittest.main(verbosity=2)
