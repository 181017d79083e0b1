#!/usr/bin/env bash
# Install sphereflow with its tests for the interpreter $1 into .venv-X.Y, and run pytest there.
# Usage: test_on.sh PYTHON [pytest arguments]
set -euo pipefail

python=$1
shift
venv=.venv-$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
printf 'tests on %s in %s\n' "$("$python" --version)" "$venv"
[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check -e '.[test]'
"$venv/bin/python" -m pytest -n 2 --dist loadfile "$@"
