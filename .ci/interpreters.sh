#!/usr/bin/env bash
# Print the newest interpreter of each version of Python from 3.11 on: those of pyenv and of PATH.
# Usage: interpreters.sh [--newer]   with --newer only those newer than that of .venv.
set -euo pipefail

least="3.11"
if [ "${1:-}" = "--newer" ]; then
    least=$(.venv/bin/python -c 'import sys; print("3.%d" % (sys.version_info.minor + 1))')
fi
candidates=()
for python in "${PYENV_ROOT:-$HOME/.pyenv}"/versions/*/bin/python3; do
    candidates+=("$python")
done
for version in 3.11 3.12 3.13 3.14 3.15; do
    candidates+=("$(command -v "python$version" || true)")
done
for python in "${candidates[@]}"; do
    [ -x "$python" ] || continue
    "$python" -c 'import sys, ensurepip, venv
if sys.version_info[:2] >= tuple(map(int, sys.argv[1].split("."))):
    print("%d.%d" % sys.version_info[:2], sys.argv[2])' "$least" "$python" 2>/dev/null || true
done | sort -V -u -k1,1 | cut -d' ' -f2
