#!/usr/bin/env bash
# Runs every interoperability check that needs nothing but the repository. Arguments go to pytest.
# The programs that are checked are those of the dev build, which is brought up to date first.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
venv="$("$here/setup.sh")"
cd "$here/../.."
cmake --preset dev >/dev/null
cmake --build --preset dev --target fedtune fedtune-ca fedtune-client fedtune-coordinator model_logits
cd "$here"
export HF_HUB_OFFLINE=1 PYTHONDONTWRITEBYTECODE=1
exec "$venv/bin/python" -m pytest -p no:cacheprovider -q "$@"
