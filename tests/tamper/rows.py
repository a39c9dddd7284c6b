"""All rows of the tamper table, in the order in which ARCHITECTURE.md prints them."""

from tests.tamper import by_author, by_authority, by_device, by_gateway
from tests.tamper.evidence import ROWS, Row, partial, state_of

MODULES = (by_author, by_device, by_gateway, by_authority)
"""Importing a module adds its rows."""

__all__ = ["MODULES", "ROWS", "Row", "partial", "state_of"]
