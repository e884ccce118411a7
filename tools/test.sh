#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What `make test` does: install what is missing, lint, test. Arguments go to pytest, whose closing line comes last.
set -eu
cd "$(dirname "$0")/.."

trap tools/give-back.sh EXIT
tools/packages.sh test
tools/venv.sh
tools/lint.sh
if [ "$(id -u)" -ne 0 ]; then
    echo "test: not root: the tests that make network namespaces are skipped (all of them: sudo make test)"
fi
# Not exec: the trap is still to come.
.venv/bin/python -m pytest "$@"
