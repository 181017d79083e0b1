#!/usr/bin/env bash
# Make the virtual environment $1 and install sphereflow with its tests into it.
# On Debian and Ubuntu the missing system packages are installed first; elsewhere they are named.
set -euo pipefail

venv=${1:-.venv}
say() { printf 'setup: %s\n' "$*"; }
fail() { printf 'setup: error: %s\n' "$*" >&2; exit 1; }

recent() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }
has_venv() { "$1" -c 'import ensurepip, venv' 2>/dev/null; }
has_headers() {
    "$1" -c 'import os, sys, sysconfig
sys.exit(not os.path.exists(os.path.join(sysconfig.get_paths()["include"], "Python.h")))' 2>/dev/null
}
find_python() {
    local candidate
    for candidate in ${PYTHON:-} python3 python3.14 python3.13 python3.12 python3.11; do
        if command -v "$candidate" >/dev/null && recent "$candidate"; then
            command -v "$candidate"
            return
        fi
    done
}
# The Debian package of the interpreter $1: python3 itself, or python3.X beside it.
debian_name() {
    local version
    version=$("$1" -c 'import sys; print("python3.%d" % sys.version_info.minor)')
    if [ "$(readlink -f /usr/bin/python3 || true)" = "/usr/bin/$version" ]; then
        echo python3
    else
        echo "$version"
    fi
}

python=$(find_python)

wanted=()
if command -v apt-get >/dev/null && command -v dpkg-query >/dev/null; then
    dpkg-query -W -f='${Status}\n' libfftw3-dev 2>/dev/null | grep -q 'ok installed' ||
        wanted+=(libfftw3-dev)
    { command -v cc || command -v gcc; } >/dev/null || wanted+=(gcc libc6-dev)
    if [ -z "$python" ]; then
        wanted+=(python3 python3-venv python3-dev)
    else
        has_venv "$python" || wanted+=("$(debian_name "$python")-venv")
        has_headers "$python" || wanted+=("$(debian_name "$python")-dev")
    fi
else
    say "no apt-get here: SHTns is used if FFTW (macOS: brew install fftw; conda: fftw) and a C compiler are there"
fi

if [ ${#wanted[@]} -gt 0 ]; then
    as_root=()
    if [ "$(id -u)" -ne 0 ]; then
        as_root=(sudo)
    fi
    if [ ${#as_root[@]} -gt 0 ] && ! command -v sudo >/dev/null; then
        say "cannot install ${wanted[*]}: neither root nor sudo; going on without"
    else
        say "installing ${wanted[*]}"
        { "${as_root[@]}" apt-get update -qq &&
            "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
                apt-get install -y -qq --no-install-recommends "${wanted[@]}" >/dev/null; } ||
            say "apt-get could not install ${wanted[*]}; going on without"
    fi
    python=$(find_python)
fi

[ -n "$python" ] || fail "Python 3.11 or newer is needed and none was found; set PYTHON=/path/to/python3"
has_venv "$python" ||
    fail "$python has no venv module; install $(debian_name "$python")-venv, or set PYTHON=/path/to/another"

# An environment whose interpreter is gone or too old is made anew; any other is updated.
if ! recent "$venv/bin/python" || ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
    say "making $venv with $("$python" --version)"
    "$python" -m venv --clear "$venv"
fi

say "installing sphereflow and its tests into $venv"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check -e '.[test]'

# SHTns is built from source; ducc0 does its work where that fails.
log=$venv/shtns.log
if ! "$venv/bin/python" -c 'import shtns' >/dev/null 2>&1; then
    say "building SHTns (about a minute)"
    if "$venv/bin/python" -m pip install --disable-pip-version-check -e '.[shtns]' >"$log" 2>&1 &&
        "$venv/bin/python" -c 'import shtns' >>"$log" 2>&1; then
        say "SHTns is installed"
    else
        say "NOTICE: SHTns could not be built (see $log); harmonic transforms will use ducc0"
        "$venv/bin/python" -m pip uninstall --quiet --yes shtns >/dev/null 2>&1 || true
    fi
fi
