# SPDX-License-Identifier: GPL-2.0-or-later
"""The translator process: packets around proto.siit; imports proto, model, errors, log only."""
