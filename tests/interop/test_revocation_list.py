"""OpenSSL's command takes our lists of revoked certificates, and ours one of its.

The programs are those of the build that `run.sh` makes, or of FEDTUNE_PROGRAMS.
"""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = Path(os.environ.get("FEDTUNE_PROGRAMS", ROOT / "build" / "dev" / "bin")) / "fedtune-ca"
OPENSSL = """
[ca]
default_ca = authority
[authority]
database = index.txt
crlnumber = number
default_md = sha256
default_crl_days = 30
crl_extensions = extensions
[extensions]
authorityKeyIdentifier = keyid:always
"""

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")


def run(*command: object, expect: int = 0) -> str:
    """What a command says; it ends with that code."""
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    assert done.returncode == expect, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(name="authority")
def make_authority(tmp_path: Path) -> Path:
    """An authority that has certified ada and bob."""
    folder = tmp_path / "ca"
    run(PROGRAM, "init", "--federation", "north", "--dir", folder)
    for name in ("ada", "bob"):
        keys = tmp_path / name
        run(PROGRAM, "request", "--federation", "north", "--role", "client", "--name", name, "--dir", keys)
        run(PROGRAM, "issue", "--dir", folder, "--request", keys / "request.pem", "--role", "client",
            "--name", name, "--out", tmp_path / f"{name}.crt")
    return folder


def verify(authority: Path, member: str, expect: int) -> str:
    """What OpenSSL says of a member's certificate, by our list."""
    return run("openssl", "verify", "-x509_strict", "-CAfile", authority / "ca.crt", "-CRLfile",
               authority / "revoked.crl", "-crl_check", authority.parent / f"{member}.crt", expect=expect)


def test_openssl_takes_our_list(authority: Path) -> None:
    """An empty one, and one with a client and its signer."""
    run(PROGRAM, "crl", "--dir", authority)
    assert verify(authority, "ada", expect=0).endswith("ada.crt: OK\n")
    run(PROGRAM, "revoke", "--dir", authority, "--role", "client", "--name", "ada")
    assert "certificate revoked" in verify(authority, "ada", expect=2)
    assert verify(authority, "bob", expect=0).endswith("bob.crt: OK\n")
    text = run("openssl", "crl", "-in", authority / "revoked.crl", "-CAfile", authority / "ca.crt", "-noout", "-text")
    assert "verify OK" in text
    assert "Version 2" in text
    assert text.count("Serial Number: ") == 2
    for line in run(PROGRAM, "list", "--dir", authority, "--json").splitlines():
        issued = json.loads(line)
        assert (issued["serial"].upper() in text) == (issued["name"] == "ada")


def test_we_take_openssls_list(authority: Path) -> None:
    """With a reason for a revocation, which ours does not write."""
    (authority / "openssl.cnf").write_text(OPENSSL, encoding="utf-8")
    (authority / "number").write_text("1000\n", encoding="utf-8")
    (authority / "index.txt").write_text("R\t270101000000Z\t261128000000Z,keyCompromise\t0A0B\tunknown\t/CN=x\n",
                                         encoding="utf-8")
    done = subprocess.run(["openssl", "ca", "-config", "openssl.cnf", "-gencrl", "-keyfile", "ca.key", "-cert",
                           "ca.crt", "-out", "theirs.crl"], cwd=authority, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    shown = json.loads(run(PROGRAM, "show", authority / "theirs.crl", "--json"))
    assert shown["number"] == 0x1000
    assert shown["revoked"] == [{"serial": "0a0b", "revoked_at": "2026-11-28T00:00:00Z"}]
