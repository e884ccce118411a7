# SPDX-License-Identifier: GPL-2.0-or-later
"""Whole machines under qemu, for what namespaces on one kernel cannot show. See README.md."""
