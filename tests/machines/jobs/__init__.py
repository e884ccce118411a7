# SPDX-License-Identifier: GPL-2.0-or-later
"""What runs inside a guest, as root: one file a job. `tests.machines.inside` has what they share."""
