# SPDX-License-Identifier: GPL-2.0-or-later
"""What firewalls of this machine have to be told about our devices: one file a firewall."""
