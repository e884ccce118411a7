# SPDX-License-Identifier: GPL-2.0-or-later
"""What is the NAT64 prefix? One file a source."""
