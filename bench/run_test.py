#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What bench/table.py and bench/run.sh say, and with which exit code."""

import json
import pathlib
import subprocess
import unittest

FOLDER = pathlib.Path(__file__).parent
GOOD = {"bench": "transport", "case": "2 x 1 MB", "metric": "round_s", "value": 0.025,
        "unit": "s"}


def table(*lines, options=()):
    text = "".join(line if isinstance(line, str) else json.dumps(line) + "\n" for line in lines)
    return subprocess.run([FOLDER / "table.py", *options], input=text, text=True,
                          capture_output=True, check=False)


def run(*arguments):
    return subprocess.run([FOLDER / "run.sh", *arguments], text=True, capture_output=True,
                          check=False)


class Table(unittest.TestCase):
    def test_a_result_is_a_row(self):
        answer = table(GOOD)
        self.assertEqual(answer.returncode, 0)
        self.assertRegex(answer.stdout, r"2 x 1 MB +round_s +0\.025 s")

    def test_goals_are_met_or_missed(self):
        answer = table(GOOD | {"goal": 0.03, "ok": True}, GOOD | {"goal": 0.02, "ok": False})
        self.assertRegex(answer.stdout, r"0\.03 +met\n.* 0\.02 +missed")

    def test_a_peer_stands_beside_ours(self):
        answer = table(GOOD | {"peer": "flower", "peer_value": 15, "ratio": 600})
        self.assertIn("flower: 15 s, 600 times ours", answer.stdout)

    def test_json_lines_pass_unchanged(self):
        self.assertEqual(json.loads(table(GOOD, options=["--json"]).stdout), GOOD)

    def test_what_is_no_result_is_an_error(self):
        wrong = ["nothing\n", "[]\n", GOOD | {"value": "fast"}, GOOD | {"goal": 1},
                 GOOD | {"colour": "red"}, {"bench": "transport"}]
        for line in wrong:
            with self.subTest(line=line):
                answer = table(line)
                self.assertEqual(answer.returncode, 1)
                self.assertIn("not a result", answer.stderr)


class Run(unittest.TestCase):
    def test_wrong_usage_is_explained(self):
        for arguments, words in ((["nonesuch"], "no benchmark nonesuch; there are: "),
                                 ([], "which benchmark?"), (["--fast"], "unknown option --fast")):
            with self.subTest(arguments=arguments):
                answer = run(*arguments)
                self.assertEqual((answer.returncode, answer.stdout), (2, ""))
                self.assertIn(words, answer.stderr)

    def test_the_first_benchmark_of_the_list_is_found(self):
        # Often enough for a race between the list's writer and its reader to show.
        for _ in range(20):
            answer = run("demo", "--peers")
            self.assertEqual(answer.returncode, 2)
            self.assertIn("demo has no comparison", answer.stderr)

    def test_every_benchmark_says_what_it_measures(self):
        for line in run("--list").stdout.splitlines():
            self.assertRegex(line, r"^\S+ +\S")

    def test_help_has_examples(self):
        self.assertIn("Examples:", run("--help").stdout)


if __name__ == "__main__":
    unittest.main()
