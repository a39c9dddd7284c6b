"""Starts halmos with its SHA-256 mended: run by halmos.py, in halmos' own environment.

halmos 0.3.3 models the precompile as an uninterpreted function of the input, and states the input's width in bytes
where its solver counts bits (`halmos/sevm.py`, `call_unknown`): every call ends in a sort mismatch. Here the width is
put right; nothing else changes, and the function stays uninterpreted.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

PREFIX = "f_sha256_"


def mended(function: Any, width: Any) -> Any:
    """Return z3's `Function`, with the width in bits for functions that are SHA-256 of so many bytes."""

    def declare(name: str, *sorts: Any) -> Any:
        if name.startswith(PREFIX):
            sorts = (width(8 * int(name.removeprefix(PREFIX))), *sorts[1:])
        return function(name, *sorts)

    return declare


def main() -> int:
    """Run halmos with this process's arguments; its exit code comes back."""
    machine: Any = import_module("halmos.sevm")
    machine.Function = mended(machine.Function, import_module("z3").BitVecSort)
    return int(import_module("halmos.__main__").main() or 0)


if __name__ == "__main__":
    sys.exit(main())
