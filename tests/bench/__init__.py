# SPDX-License-Identifier: GPL-2.0-or-later
"""Measurements, each a module with `main()`; `python -m tests.bench` runs them all."""
