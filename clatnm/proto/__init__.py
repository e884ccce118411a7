# SPDX-License-Identifier: GPL-2.0-or-later
"""PURE: wire formats and translation. Bytes and `now` in, bytes out; standard library only."""
