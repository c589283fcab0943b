#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What an administrator's commands make of lines that break.

    broken_lines_test.py PROGRAMS_DIR
"""

import json
import select
import socket
import sys
import tempfile
import threading
import time
import unittest

from federation import SITES, Federation, small_plan

PROGRAMS = sys.argv.pop(1)

# How long a line takes for what is said at once, each way: as between two cities.
DELAY_S = 0.02

# How often whoever comes back is hung up on, as while a coordinator restarts.
HANGS_UP = 2


class Relay:
    """Passes on what comes for an address, one connection after the other, and breaks the
    first one off when so many bytes have come back; the next ones come to nothing."""

    def __init__(self, target, breaks_after=None):
        host, _, port = target.rpartition(":")
        self.target = (host, int(port))
        self.breaks_after = breaks_after
        self.came_back = 0
        self.connections = 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.thread.join()
        self.listener.close()

    def serve(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            if 1 < self.connections < 2 + HANGS_UP:
                client.close()
                continue
            with client, socket.create_connection(self.target) as hub:
                self.pass_on(client, hub)

    def pass_on(self, client, hub):
        while True:
            for end in select.select([client, hub], [], [])[0]:
                try:
                    content = end.recv(65536)
                except ConnectionError:
                    return
                if end is hub and self.breaks_after is not None:
                    content = content[:self.breaks_after - self.came_back]
                if not content:
                    return
                time.sleep(DELAY_S)
                (client if end is hub else hub).sendall(content)
                self.came_back += len(content) if end is hub else 0
                if self.came_back == self.breaks_after:
                    self.breaks_after = None
                    return


class BrokenLinesTest(unittest.TestCase):
    """A coordinator and two clients; the administrator has a line that breaks."""

    def setUp(self):
        folder = self.enterContext(tempfile.TemporaryDirectory(prefix="fedtune-"))
        self.federation = self.enterContext(Federation(PROGRAMS, folder))
        self.federation.make_authority()
        self.federation.start_coordinator()
        self.hub = self.federation.address
        for site in SITES[:2]:
            self.federation.start_client(site)
        self.federation.wait_for_clients(2)
        self.plan = self.federation.folder / "plan.toml"
        self.plan.write_text(small_plan(count=1, steps=1))

    def over(self, relay, *arguments):
        """A command of the administrator over this line."""
        self.federation.address = relay.address
        try:
            return self.federation.fedtune(*arguments)
        finally:
            self.federation.address = self.hub

    def runs(self):
        """The ids of all runs, the newest first."""
        out = self.federation.fedtune("run", "list", "--json").stdout
        return [json.loads(line)["run_id"] for line in out.splitlines()]

    def test_a_run_whose_answer_is_lost_begins_once(self):
        with Relay(self.hub) as whole:
            self.over(whole, "run", "start", self.plan)
        self.federation.wait_for_end(self.runs()[0])
        with Relay(self.hub, breaks_after=whole.came_back - 200) as breaks:
            started = self.over(breaks, "run", "start", self.plan)
        self.assertEqual(breaks.connections, 2 + HANGS_UP)
        self.assertEqual(len(self.runs()), 2)
        self.assertIn(self.runs()[0], started.stdout)

    def test_an_adapter_is_pulled_on_from_where_the_line_broke(self):
        large = small_plan(count=1, steps=1).replace("rank = 4", "rank = 64")  # In three chunks.
        run = self.federation.start_run(large)
        self.federation.wait_for_end(run)
        size = self.federation.run_state(run)["adapter_bytes"]
        with Relay(self.hub, breaks_after=size * 3 // 4) as breaks:
            self.over(breaks, "model", "pull", run, "--out", self.federation.folder / "pulled")
        self.assertEqual(breaks.connections, 2 + HANGS_UP)
        self.assertLess(breaks.came_back, size * 3 // 2)


if __name__ == "__main__":
    unittest.main(verbosity=2)
