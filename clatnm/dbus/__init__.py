# SPDX-License-Identifier: GPL-2.0-or-later
"""The bus connection, our own org.clatnm1 service, interface names."""
