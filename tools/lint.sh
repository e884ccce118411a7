#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Every linter, one after the other; all of them run even if one objects.
set -eu
cd "$(dirname "$0")/.."
PATH=$PATH:/usr/sbin:/sbin
failed=

# run NAME COMMAND...: silent when it passes.
run() {
    local name=$1 output
    shift
    if output=$("$@" 2>&1); then
        echo "lint: $name: ok"
    else
        failed="$failed $name"
        printf '%s\n' "lint: $name: FAILED" "$output"
    fi
}

# need PROGRAM NAME COMMAND...: as run, where the program is here.
need() {
    local program=$1
    shift
    if command -v "$program" >/dev/null; then
        run "$@"
    else
        echo "lint: $1: skipped, $program is not installed"
    fi
}

mapfile -t shell < <(grep -rlIE --exclude-dir='.?*' --exclude='*.py' '^#!(/bin/sh|/bin/bash|/usr/bin/env bash)' . .ci)

run ruff .venv/bin/ruff check --quiet .
run format .venv/bin/ruff format --quiet --check .
run mypy .venv/bin/mypy
need shellcheck shellcheck shellcheck "${shell[@]}"
need mandoc man-pages mandoc -T lint -W warning packaging/man/*.[58]
# Most of what its file is told not to say is about packages, which are looked at by a test.
need rpmlint rpm-spec rpmlint --ignore-unused-rpmlintrc -r packaging/rpm/clatnm.rpmlintrc packaging/rpm/clatnm.spec

# ruff knows what is too new for the oldest Python; that Python itself knows better, where there is one.
oldest=
for python in python3.10 "${HOME-}"/.pyenv/versions/3.10.*/bin/python3; do
    if "$python" -c '' 2>/dev/null; then
        oldest=$python
    fi
done
mapfile -t sources < <(find clatnm tests -name '*.py')
need "${oldest:-python3.10}" python-3.10 "$oldest" -c \
    'import ast, sys; [ast.parse(open(name, encoding="utf-8").read(), name) for name in sys.argv[1:]]' "${sources[@]}"

run layers .venv/bin/python -m pytest -q tests/unit/test_layers.py

[ -z "$failed" ] || { echo "lint: failed:$failed" >&2; exit 1; }
