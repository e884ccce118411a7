# SPDX-License-Identifier: GPL-2.0-or-later
"""`clatnm doctor`: facts are gathered (`gather.py`), checks make findings of them, `report.py` tells."""
