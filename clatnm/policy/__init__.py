# SPDX-License-Identifier: GPL-2.0-or-later
"""PURE: what should be, from what is. No root, clock, network or async."""
