# SPDX-License-Identifier: GPL-2.0-or-later
"""The Linux kernel behind small typed functions: netlink, TUN, sockets."""
