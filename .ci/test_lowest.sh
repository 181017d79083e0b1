#!/usr/bin/env bash
# Install the declared lower bounds of all dependencies into .venv-lowest, and run pytest there.
# Usage: test_lowest.sh [pytest arguments]
set -euo pipefail

python=$(bash .ci/interpreters.sh | head -n 1)
venv=.venv-lowest
printf 'tests at the lower bounds on %s in %s\n' "$("$python" --version)" "$venv"
[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
"$python" .ci/lowest.py >"$venv/lowest.txt"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    -c "$venv/lowest.txt" -e . pytest
"$venv/bin/python" -m pytest "$@"
