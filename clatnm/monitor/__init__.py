# SPDX-License-Identifier: GPL-2.0-or-later
"""`clatnm monitor`: what the daemon says, as it happens: on a whole terminal, or line by line."""
