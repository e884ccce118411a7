#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Makes .venv, with clatnm (editable) and what its tests need; does nothing when it is there and up to date.
set -eu
cd "$(dirname "$0")/.."

say() { printf '%s\n' "venv: $*"; }

# All that makes an environment worth keeping: its Python works and is the one it was made with, the tree has not been
# moved or copied (scripts and the editable install hold its path), and it is asked for the same packages.
identity() {
    .venv/bin/python - <<'PYTHON' 2>/dev/null
import hashlib, pathlib, sys
print(sys.version_info[:2], sys.prefix, hashlib.sha256(pathlib.Path("pyproject.toml").read_bytes()).hexdigest())
PYTHON
}

# The lines of $1 but for the hash, which a plain `pip install` mends.
place() { printf '%s' "${1% *}"; }

# Compiles the fast path's programs when their source is newer than what was made of it.
programs() {
    local made=clatnm/bpf/clat.json
    if [ ! -e "$made" ] || [ -n "$(find clatnm/bpf \( -name '*.[ch]' -o -name build.py \) -newer "$made")" ]; then
        .venv/bin/python -m clatnm.bpf.build || say "the eBPF path is left out; all traffic goes through user space"
    fi
}

trap tools/give-back.sh EXIT
stamp=$(cat .venv/.stamp 2>/dev/null || true)
now=$(identity || true)
if [ -n "$now" ] && [ "$now" = "$stamp" ]; then
    programs
    exit 0
fi
if [ -e .venv ] && [ ! -w .venv ]; then
    say "error: .venv is out of date and not yours to change (sudo rm -r .venv, then try again)" >&2
    exit 1
fi
# An environment without a stamp that works was made by hand: keep it, install into it.
if [ -z "$now" ] || { [ -n "$stamp" ] && [ "$(place "$now")" != "$(place "$stamp")" ]; }; then
    python=$(tools/python.sh)
    say "making .venv with $("$python" --version)"
    rm -rf .venv
    "$python" -m venv .venv
fi
say "installing clatnm and what its tests need into .venv"
# dbus-fast beside dbus-next: the tests run against both.
.venv/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]' 'dbus-fast>=2.21'
identity >.venv/.stamp
programs
