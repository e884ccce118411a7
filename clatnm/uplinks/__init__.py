# SPDX-License-Identifier: GPL-2.0-or-later
"""Which connections exist? One file a manager."""
