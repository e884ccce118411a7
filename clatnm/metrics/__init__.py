# SPDX-License-Identifier: GPL-2.0-or-later
"""What the daemon tells, in numbers for monitoring systems, and a small listener that hands them out."""
