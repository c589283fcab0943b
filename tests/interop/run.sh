#!/usr/bin/env bash
# Runs every interoperability check that needs nothing but the repository, in two processes of pytest; or one of them
# with the arguments that are given.
# The programs that are checked are those of the dev build, which is brought up to date first.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
venv="$("$here/setup.sh")"
cd "$here/../.."
cmake --preset dev >/dev/null
cmake --build --preset dev --target fedtune fedtune-ca fedtune-client fedtune-coordinator model_logits \
  tokenizer_digests tokenized_texts chat_texts audit_log_sample
cd "$here"
export HF_HUB_OFFLINE=1 PYTHONDONTWRITEBYTECODE=1
run_pytest() { "$venv/bin/python" -m pytest -p no:cacheprovider -q "$@"; }

if [ $# -gt 0 ]; then
  run_pytest "$@"
  exit
fi
# Both halves of the work at once. Tests of models that are not ours stay together, as they share what they download.
real=(test_chat.py test_smollm2.py test_tokenizers.py)
said="$(mktemp)"
trap 'rm -f "$said"' EXIT
run_pytest "${real[@]}" >"$said" 2>&1 &
status=0
run_pytest "${real[@]/#/--ignore=}" || status=$?
wait $! || status=$?
cat "$said"
exit "$status"
