#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# After work done as root in somebody's checkout (`sudo make test`): what it made belongs to whom the checkout belongs.
cd "$(dirname "$0")/.." || exit
[ "$(id -u)" -eq 0 ] || exit 0
for made in .venv clatnm.egg-info clatnm/bpf/clat.json dist .pytest_cache .mypy_cache .ruff_cache .hypothesis; do
    # -h: .venv/bin/python is a link to the system's own.
    [ ! -e "$made" ] || chown -Rh --reference=. "$made"
done
