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
# Side by side, unless somebody asks for something else: the tests of the whole wait most of the time, so there is one more
# than there are CPUs. A file's tests stay together, in the order in which they stand, because they share a lab. So many
# daemons on few CPUs can be late for once: what was waited for in vain is tried once more, and the closing lines name it
# as RERUN. What is wrong fails at once.
if [ $# -eq 0 ]; then
    cpus=$(nproc)
    set -- -n "$((cpus < 4 ? cpus + 1 : 4))" --dist loadfile --no-loadscope-reorder -r aR \
        --reruns 1 --only-rerun EventuallyError
fi
# Not exec: the trap is still to come.
.venv/bin/python -m pytest "$@"
