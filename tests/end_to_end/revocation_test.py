#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A client's certificate is revoked while it trains, as after a theft.

    revocation_test.py PROGRAMS_DIR
"""

import os
import shutil
import sys
import tempfile
import time
import unittest

from federation import EAGER, SITES, Federation, small_plan

PROGRAMS = sys.argv.pop(1)
STAYS, STOLEN = SITES[:2]
REFUSED = 3  # The exit code.


class RevocationTest(unittest.TestCase):
    """Two clients train; the custodian revokes the certificates of one."""

    def setUp(self):
        folder = self.enterContext(tempfile.TemporaryDirectory(prefix="fedtune-"))
        self.federation = self.enterContext(Federation(PROGRAMS, folder))
        self.federation.make_authority()
        self.list = self.federation.folder / "revoked.crl"

    def put_list_in_place(self):
        """As an operator does: by renaming."""
        copy = self.list.with_suffix(".new")
        shutil.copy(self.federation.folder / "ca" / "revoked.crl", copy)
        os.replace(copy, self.list)

    def revoke(self, *how):
        done = self.federation.run("fedtune-ca", "revoke", "--dir", self.federation.folder / "ca",
                                   *how)
        self.put_list_in_place()
        return done.stderr

    def begin(self, keys=""):
        self.federation.run("fedtune-ca", "crl", "--dir", self.federation.folder / "ca")
        self.put_list_in_place()
        self.federation.coordinator_flags = ["--revocation-list", self.list]
        self.federation.start_coordinator()
        for name in (STAYS, STOLEN):
            self.federation.start_client(name, keys=keys + EAGER)
        self.federation.wait_for_clients(2)

    def test_a_client_that_is_revoked_in_a_run_is_out_within_a_minute(self):
        self.begin()
        federation = self.federation
        run = federation.start_run(small_plan(count=1000, steps=60, quorum=1, deadline_s=20))
        federation.wait_until("training", lambda: federation.has_trained(STOLEN))
        advice = self.revoke("--role", "client", "--name", STOLEN)
        begun = time.monotonic()
        self.assertIn(f"client {STOLEN} of federation north, serial", advice)
        federation.wait_until("the end of its session", lambda: (
            "was revoked on" in federation.log(STOLEN)))
        took = time.monotonic() - begun
        print(f"its session ended after {took:.1f} s", file=sys.stderr)
        self.assertLess(took, 60)
        self.assertRegex(federation.log("coordinator"),
                         f'calls of a revoked certificate end whose="client {STOLEN} of')
        federation.wait_until("a round without it", lambda: 1 in [
            one["contributions"] for one in federation.run_state(run)["rounds"]])
        connected = {one["institution"]: one["connected"] for one in federation.clients()}
        self.assertEqual(connected, {STAYS: True, STOLEN: False})
        federation.wait_until("its next attempt", lambda: (
            "a revoked certificate is shown" in federation.log("coordinator")))

    def test_a_new_key_of_the_same_member_is_let_in_again(self):
        self.begin()
        federation = self.federation
        self.revoke("--certificate", federation.folder / STOLEN / "keys" / "certificate.pem")
        federation.wait_until("the end of its session", lambda: (
            "was revoked on" in federation.log(STOLEN)))
        federation.stop(STOLEN)
        shutil.rmtree(federation.folder / STOLEN / "keys")
        federation.start_client(STOLEN)
        federation.wait_for_clients(2)

    def test_an_administrators_commands_are_refused_with_the_reason(self):
        self.begin()
        federation = self.federation
        federation.issue("administrator", "eve", federation.folder / "eve")
        self.revoke("--role", "administrator", "--name", "eve")

        def refusal():
            try:
                federation.fedtune("run", "list", keys=federation.folder / "eve")
            except Exception as error:  # The other exit codes are told below.
                return str(error)
            return ""

        self.assertIn("was revoked on", federation.wait_until("a refusal", refusal))
        federation.fedtune("run", "list", keys=federation.folder / "eve", expect=REFUSED)
        federation.fedtune("run", "list")

    def test_clients_and_administrators_with_a_list_refuse_a_revoked_coordinator(self):
        self.begin(keys=f'revocation_list = "{self.list}"\n')
        federation = self.federation
        client = ("fedtune-client", "check", "--config", federation.folder / STAYS / "client.toml")
        self.assertRegex(federation.run(*client).stdout, "revocation list +ok +number 1 ")
        self.revoke("--role", "coordinator", "--name", "hub")
        done = federation.fedtune("--revocation-list", self.list, "run", "list", expect=REFUSED)
        self.assertIn("the certificate of coordinator hub of federation north", done.stderr)
        federation.wait_until("the client's end of the session", lambda: (
            "was revoked on" in federation.log(STAYS)))
        self.assertIn("was revoked on", federation.run(*client, expect=REFUSED).stdout)

    def test_a_coordinator_does_not_start_with_a_wrong_list_and_keeps_its_own(self):
        self.begin()
        federation = self.federation
        self.list.write_text("a letter")
        federation.wait_until("a warning", lambda: (
            "the revocation list is not taken" in federation.log("coordinator")))
        federation.fedtune("run", "list")
        arguments = ["--state-dir", federation.folder / "coordinator"]
        federation.stop("coordinator")
        done = federation.run("fedtune-coordinator", "serve", *arguments, "--revocation-list",
                              self.list, expect=2)
        self.assertIn(f"revocation_list: {self.list}: no list of revoked certificates",
                      done.stderr)
        configuration = federation.folder / "coordinator.toml"
        configuration.write_text(f'state_dir = "coordinator"\nrevocation_list = "{self.list}"\n')
        check = ("fedtune-coordinator", "check", "--config", configuration)
        self.assertIn("no list of revoked", federation.run(*check, expect=2).stderr)
        self.put_list_in_place()
        self.assertIn("revocation list: number 1 of", federation.run(*check).stdout)

    def test_an_older_list_is_not_taken_after_a_restart_either(self):
        self.begin(keys=f'revocation_list = "{self.list}"\n')
        federation = self.federation
        older = self.list.read_bytes()
        self.revoke("--role", "client", "--name", STOLEN)
        kept = [federation.folder / name / "revocation_list.pem"
                for name in ("coordinator", STAYS)]
        federation.wait_until("copies of the newer one", lambda: all(
            file.read_bytes() == self.list.read_bytes() for file in kept))
        for name in ("coordinator", STAYS):
            federation.stop(name)
        self.list.write_bytes(older)
        serve = {"fedtune-coordinator": ["--state-dir", federation.folder / "coordinator",
                                         "--revocation-list", self.list],
                 "fedtune-client": ["--config", federation.folder / STAYS / "client.toml"]}
        for program, flags in serve.items():
            told = federation.run(program, "serve", *flags, expect=1).stderr
            self.assertIn("it has the number 1, and 2 is in use: an older list is never taken", told)
        self.put_list_in_place()
        federation.start_coordinator(listen=federation.address)


if __name__ == "__main__":
    unittest.main(verbosity=2)
