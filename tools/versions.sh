#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Runs what touches other people's libraries with each set of versions in tests/versions, in an environment of its own
# under .venv. Arguments go to pytest.
set -eu
cd "$(dirname "$0")/.."

trap tools/give-back.sh EXIT
tools/packages.sh test
tools/venv.sh
failed=
for list in tests/versions/*.txt; do
    name=$(basename "$list" .txt)
    place=$PWD/.venv/versions/$name
    if ! cmp -s "$list" "$place/installed.txt"; then
        echo "versions: making an environment for $name"
        rm -rf "$place"
        .venv/bin/python -m venv "$place"
        "$place/bin/python" -m pip install --quiet --disable-pip-version-check -r "$list" pytest hypothesis
        "$place/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --editable .
        cp "$list" "$place/installed.txt"
    fi
    echo "versions: $name"
    "$place/bin/python" -m pytest -q -p no:cacheprovider tests/unit/kernel tests/unit/dbus tests/unit/uplinks/test_networkmanager.py \
        tests/unit/uplinks/test_networkd.py tests/unit/discovery/test_dns64_*.py tests/e2e/test_translation.py tests/e2e/test_cleanup.py \
        -k "not backend or each_backend" "$@" || failed="$failed $name"
done
[ -z "$failed" ] || { echo "versions: failed with$failed" >&2 && exit 1; }
