# SPDX-License-Identifier: GPL-2.0-or-later
"""Who moves the packets? One file a backend, all of them in `backends.BACKENDS`."""
