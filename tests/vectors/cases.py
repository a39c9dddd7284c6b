"""What a vector is, and how its values are written as JSON."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

Case = dict[str, Any]
Cases = Iterator[tuple[str, Case]]


@dataclass(frozen=True)
class Zeros:
    """That many zero bytes: for inputs refused by their length alone."""

    count: int


def good(name: str, description: str, kind: str, given: Any, /, **output: Any) -> tuple[str, Case]:
    """A case that is accepted; ``output`` is what must come out of it."""
    case = {"description": description, "object": kind, "input": plain(given), "expect": "ok"}
    return name, case | ({"output": {key: diagnostic(value) for key, value in output.items()}} if output else {})


def bad(name: str, code: str, description: str, kind: str, given: Any) -> tuple[str, Case]:
    """A case with one defect, refused with ``code``."""
    return name, {"description": description, "object": kind, "input": plain(given), "expect": code}


def plain(value: Any) -> Any:
    """Inputs: bytes as hex, long runs of one byte as {"repeat": [byte, count]}, the rest as it is."""
    match value:
        case bytes():
            return _hex(value)
        case Zeros():
            return {"repeat": ["00", value.count]}
        case dict():
            return {key: plain(item) for key, item in value.items()}
        case list() | tuple():
            return [plain(item) for item in value]
    return value


def _hex(data: bytes) -> Any:
    parts: list[Any] = []
    end = 0
    for run in re.finditer(rb"(?s)(.)\1{999,}", data):
        parts += [data[end : run.start()].hex(), {"repeat": [run[1].hex(), len(run[0])]}]
        end = run.end()
    return {"join": [*parts, data[end:].hex()]} if parts else data.hex()


def diagnostic(value: Any) -> Any:
    """Outputs: byte strings as in CBOR diagnostic notation, h'…', so that text stays text."""
    match value:
        case bytes():
            return f"h'{value.hex()}'"
        case dict():
            return {str(key): diagnostic(item) for key, item in value.items()}
        case list() | tuple():
            return [diagnostic(item) for item in value]
    return value


def spoiled(
    fields: dict[str, Any], *changes: tuple[str, str, str, Any]
) -> Iterator[tuple[str, str, str, dict[str, Any]]]:
    """(name, code, description, fields) for each (code, key, description, value); ``Ellipsis`` takes the key away."""
    for code, key, description, value in changes:
        rest = {name: item for name, item in fields.items() if name != key}
        changed = rest if value is ... else rest | {key: value}
        yield re.sub(r"[^A-Za-z0-9_]+", "-", f"{key} {description}"), code, f"{key}: {description}", changed


def shape(fields: dict[str, Any], missing: str | None = None) -> list[tuple[str, str, str, Any]]:
    """The three defects every closed map can have, for ``spoiled``; ``missing`` is the key to take away."""
    return [
        ("missing_key", missing or min(fields), "missing", ...),
        ("extra_key", "zz", "unknown key", 0),
        ("enum", "v", "another version", 2),
    ]
