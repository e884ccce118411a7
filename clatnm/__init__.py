# SPDX-License-Identifier: GPL-2.0-or-later
"""clatnm: IPv4 on IPv6-only networks, by itself (464XLAT CLAT, RFC 6877)."""

__version__ = "0.1.0"
