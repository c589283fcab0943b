#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs docs/TUTORIAL.md: its own commands, in its order, as pasted into a shell.

    tutorial_test.py PROGRAMS_DIR

Only two things are not as on the page: the programs are built already, so bootstrap
does nothing here and cmake copies those that the page names, and the port is a free one.
"""

import json
import os
import pathlib
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest

from federation import patient

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAMS = pathlib.Path(sys.argv.pop(1)).resolve()
HOSPITALS = 3
TIMEOUT_S = patient(300)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def blocks():
    """The tutorial's blocks of commands."""
    text = (ROOT / "docs/TUTORIAL.md").read_text(encoding="utf-8")
    return re.findall(r"^```sh\n(.*?)^```$", text.replace("7443", free_port()), re.M | re.S)


# Makes the targets that it is told to build, and no other program. Links would not do: a
# program looks for others where its own file is.
CMAKE = """#!/bin/sh
case "$1" in --build) ;; *) exit 0 ;; esac
while [ "$1" != --target ]; do shift; done
shift
for target; do cp "{programs}/$target" build/release/bin/ || exit 1; done
"""


def make_root(folder):
    """A project's root in which building is over at once."""
    for entry in ROOT.iterdir():
        if entry.name not in ("build", "deploy", "demo", ".git"):
            (folder / entry.name).symlink_to(entry)
    commands = {"deploy/bootstrap.sh": "#!/bin/sh\n",
                "stubs/cmake": CMAKE.format(programs=PROGRAMS)}
    for command, text in commands.items():
        file = folder / command
        file.parent.mkdir()
        file.write_text(text, encoding="utf-8")
        file.chmod(0o755)
    (folder / "build/release/bin").mkdir(parents=True)


class Shell:
    """An interactive bash that reads what is pasted into it."""

    def __init__(self, folder):
        environment = {**os.environ, "PATH": f"{folder}/stubs:{os.environ['PATH']}",
                       "HOME": str(folder), "PS1": ""}
        self.process = subprocess.Popen(
            ["bash", "--noprofile", "--norc", "-i"], cwd=folder, env=environment, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.deadline = threading.Timer(TIMEOUT_S, self.process.kill)
        self.deadline.start()
        self.paste("trap 'echo \"FAILED: $BASH_COMMAND\"' ERR\n")

    def paste(self, text):
        """Runs commands and returns all that they print."""
        self.process.stdin.write(text + "\necho '== end of block'\n")
        self.process.stdin.flush()
        printed = []
        for line in self.process.stdout:
            if line == "== end of block\n":
                return "".join(printed)
            printed.append(line)
        raise AssertionError(f"the shell ended or took too long:\n{''.join(printed)}")

    def close(self):
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait(timeout=patient(30))
        self.deadline.cancel()


class TutorialTest(unittest.TestCase):

    def setUp(self):
        self.folder = pathlib.Path(self.enterContext(
            tempfile.TemporaryDirectory(prefix="fedtune-")))
        make_root(self.folder)
        self.shell = Shell(self.folder)
        self.addCleanup(self.end)

    def end(self):
        """Whatever happened: no process of the tutorial stays."""
        for process in self.processes():
            os.kill(process, 9)
        self.shell.close()

    def processes(self):
        """Those whose command line names our folder."""
        found = []
        for entry in pathlib.Path("/proc").iterdir():
            try:
                words = (entry / "cmdline").read_bytes() if entry.name.isdigit() else b""
            except OSError:
                continue  # It has ended meanwhile.
            if b"serve" in words and os.fsencode(self.folder) in words:
                found.append(int(entry.name))
        return found

    def wait_for(self, what, condition):
        deadline = time.monotonic() + patient(60)
        while not condition():
            self.assertLess(time.monotonic(), deadline, what)
            time.sleep(0.2)

    def paste(self, text):
        """A block without a failure."""
        printed = self.shell.paste(text)
        self.assertNotIn("FAILED: ", printed)
        self.assertNotIn("error: ", printed)
        return printed

    def connected(self):
        lines = self.shell.paste("fedtune client list --json").splitlines()
        return sum(json.loads(line)["connected"] for line in lines if line.startswith("{"))

    def test_every_command_works_when_pasted(self):
        (build, authority, hub, hospitals, roster, administrator, run, model, verification,
         log, end) = blocks()
        self.paste(build)
        self.paste(authority)
        self.paste(hub)
        self.paste(hospitals)
        printed = self.paste(roster)
        self.assertRegex(printed, r"roster 1 of federation north")
        self.assertRegex(printed, r"coordinator +ok")
        self.assertRegex(printed, r"signing key +ok")
        self.paste(administrator)
        # As the page says: go on when all are connected.
        self.wait_for("three clients", lambda: self.connected() == HOSPITALS)
        printed = self.paste(run)
        self.assertIn("100 rounds of fedit aggregation", printed)
        self.assertRegex(printed, r"run-\w+ finished after 100 of 100 rounds")
        self.assertRegex(printed, r"run-\w+ +three-hospitals +finished +100/100 +3/3")
        printed = self.paste(model)
        self.assertRegex(printed, r"loss +\d")
        self.assertRegex(printed, r"accuracy +\d")
        tutorial = self.folder / "demo/tutorial"
        self.assertTrue((tutorial / "adapter/adapter_model.safetensors").exists())
        self.assertTrue((tutorial / "model/model.safetensors").exists())
        printed = self.paste(verification)
        self.assertRegex(printed, r"/adapter is the adapter of run-\w+ after round 100, its last")
        self.assertRegex(printed, r"/model is icd-moe with the adapter of run-\w+ after round 100")
        printed = self.paste(log)
        self.assertRegex(printed, r"run-\w+ finished")
        self.assertRegex(printed, r"run\.json: 100 of 100 rounds of run-\w+ are in the log, and agree")
        self.assertEqual(len(self.processes()), HOSPITALS + 1)
        self.paste(end)
        self.wait_for("the end of all processes", lambda: not self.processes())


if __name__ == "__main__":
    unittest.main(verbosity=2)
