#!/usr/bin/env bash
# Makes the Python environment of the interoperability checks, unless it is there, and prints its path.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
exec "$here/../support/python_environment.sh" interop "$here/requirements.txt"
