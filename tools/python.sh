#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Prints the Python to make the virtual environment with: $PYTHON, or else the first here that is 3.10 or newer.
for python in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11 python3.10}; do
    if "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
        echo "$python"
        exit 0
    fi
done
echo "error: no Python 3.10 or newer here (say where one is: make test PYTHON=/path/to/python3)" >&2
exit 1
