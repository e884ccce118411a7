# SPDX-License-Identifier: GPL-2.0-or-later
"""What a desktop shows of clatnm: one notification a network, and a line for status bars. As an ordinary user."""
