"""All rows of the tamper table, in the order in which ARCHITECTURE.md prints them."""

from tests.tamper import by_author, by_authority, by_chain, by_device, by_gateway, by_tpm
from tests.tamper.evidence import ROWS, Row, partial, state_of

MODULES = (by_author, by_authority, by_chain, by_device, by_gateway, by_tpm)
"""Importing a module adds its rows."""

ROWS.sort(key=lambda row: [module.__name__ for module in MODULES].index(row.make.__module__))

__all__ = ["MODULES", "ROWS", "Row", "partial", "state_of"]
