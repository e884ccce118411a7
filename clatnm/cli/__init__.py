# SPDX-License-Identifier: GPL-2.0-or-later
"""The command line: one file a verb."""

from __future__ import annotations

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_NOTHING_TO_DO = 3
