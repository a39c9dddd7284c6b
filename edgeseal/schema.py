"""Types and ranges of decoded CBOR, said once for each object (``docs/format.md`` 1.3 step 4).

A *check* is a function of a decoded value and the place it stands; it returns nothing or raises
:class:`edgeseal.errors.FormatError` naming that place. Checks compose: ``closed({"size": uint, "root": digest})`` is
the check of a map with exactly these keys. Nothing here decodes bytes or knows a kind of object.

Codes raised: ``type`` (not of this type), ``range`` (a number or length outside its bounds), ``missing_key``,
``extra_key``, ``name_invalid`` (1.6), ``enum`` (not one of the allowed words).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from edgeseal import limits
from edgeseal.errors import FormatError

Check = Callable[[Any, str], None]

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}", re.ASCII)
_CODE = re.compile(r"[a-z][a-z0-9_]{0,63}", re.ASCII)


def refuse(code: str, at: str, what: str) -> FormatError:
    """Return the error that says ``what`` is wrong ``at`` a place of the object."""
    return FormatError(code, f"{at}: {what}")


def uint(value: Any, at: str) -> None:
    """Check an integer of 0 … 2**64-1 (a bool is none)."""
    if type(value) is not int:
        raise refuse("type", at, "must be an unsigned integer")
    if not 0 <= value <= limits.UINT64:
        raise refuse("range", at, "must be within 0 and 2**64-1")


def positive(value: Any, at: str) -> None:
    """Check an integer of 1 … 2**64-1."""
    uint(value, at)
    if value == 0:
        raise refuse("range", at, "must be at least 1")


def boolean(value: Any, at: str) -> None:
    """Check true or false."""
    if type(value) is not bool:
        raise refuse("type", at, "must be true or false")


def binary(least: int, most: int) -> Check:
    """Return the check of a byte string of ``least`` to ``most`` bytes."""

    def check(value: Any, at: str) -> None:
        if type(value) is not bytes:
            raise refuse("type", at, "must be a byte string")
        if not least <= len(value) <= most:
            raise refuse("range", at, f"must be {least} to {most} bytes, is {len(value)}")

    return check


digest: Check = binary(32, 32)
"""Check of 32 bytes: a hash, a kid, a log id or a salt."""


def text(most: int = limits.MAX_TEXT, least: int = 0) -> Check:
    """Return the check of UTF-8 text whose encoding is ``least`` to ``most`` bytes."""

    def check(value: Any, at: str) -> None:
        if type(value) is not str:
            raise refuse("type", at, "must be text")
        size = len(value) if value.isascii() else len(value.encode())
        if not least <= size <= most:
            raise refuse("range", at, f"must be {least} to {most} bytes of text")

    return check


def matching(pattern: re.Pattern[str], code: str, what: str) -> Check:
    """Return the check of text that matches ``pattern`` from end to end, refused with ``code``."""

    def check(value: Any, at: str) -> None:
        if type(value) is not str:
            raise refuse("type", at, "must be text")
        if pattern.fullmatch(value) is None:
            raise refuse(code, at, what)

    return check


name: Check = matching(_NAME, "name_invalid", "must be 1-64 of a-z 0-9 . _ - and begin with a letter or digit")
code: Check = matching(_CODE, "name_invalid", "must be a reason code: 1-64 of a-z 0-9 _, first a letter")


def one_of(*words: object) -> Check:
    """Return the check of a value that is one of ``words``, of the very same type."""

    allowed: dict[type, set[object]] = {}
    for word in words:
        allowed.setdefault(type(word), set()).add(word)

    def check(value: Any, at: str) -> None:
        among = allowed.get(type(value))
        if among is None or value not in among:
            raise refuse("enum", at, f"must be one of {', '.join(map(str, words))}")

    return check


def maybe(inner: Check) -> Check:
    """Return the check of null or what ``inner`` allows."""

    def check(value: Any, at: str) -> None:
        if value is not None:
            inner(value, at)

    return check


def items(inner: Check, most: int, least: int = 0) -> Check:
    """Return the check of an array of ``least`` to ``most`` items, each of ``inner``."""

    def check(value: Any, at: str) -> None:
        if type(value) is not list:
            raise refuse("type", at, "must be an array")
        if not least <= len(value) <= most:
            raise refuse("range", at, f"must hold {least} to {most} items, holds {len(value)}")
        for number, item in enumerate(value):
            inner(item, f"{at}[{number}]")

    return check


def row(*columns: Check) -> Check:
    """Return the check of an array with exactly one item for each of ``columns``."""

    width = len(columns)

    def check(value: Any, at: str) -> None:
        if type(value) is list and len(value) == width:
            try:
                for item, column in zip(value, columns, strict=True):
                    column(item, at)
                return
            except FormatError:
                pass  # what follows finds it again and says where
        if type(value) is not list:
            raise refuse("type", at, "must be an array")
        if len(value) != width:
            raise refuse("range", at, f"must hold {len(columns)} items, holds {len(value)}")
        for number, column in enumerate(columns):
            column(value[number], f"{at}[{number}]")

    return check


def closed(required: Mapping[Any, Check], optional: Mapping[Any, Check] | None = None) -> Check:
    """Return the check of a map that has every ``required`` key, any ``optional`` one, and no other."""
    extra: Mapping[Any, Check] = optional or {}
    fields = {**required, **extra}
    usual, pairs = required.keys(), tuple(required.items())

    def check(value: Any, at: str) -> None:
        if type(value) is dict and value.keys() == usual:
            try:
                for key, field in pairs:
                    field(value[key], at)
                return
            except FormatError:
                pass  # what follows finds it again and says where
        if type(value) is not dict:
            raise refuse("type", at, "must be a map")
        for key in value:
            if key not in fields:
                raise refuse("extra_key", at, f"unknown key {key!r:.70}")
        for key, field in fields.items():
            if key in value:
                field(value[key], f"{at}.{key}")
            elif key not in extra:
                raise refuse("missing_key", at, f"key {key!r} is missing")

    return check


def _public_value(value: Any, at: str) -> None:
    kind = type(value)
    if kind is bool:
        return
    if kind is int:
        if not -(2**63) <= value < 2**63:
            raise refuse("range", at, "must fit 64 bits, signed")
    elif kind is str or kind is bytes:
        if len(value.encode() if kind is str else value) > limits.MAX_PUB_VALUE:
            raise refuse("range", at, f"must be at most {limits.MAX_PUB_VALUE} bytes")
    else:
        raise refuse("type", at, "must be an integer, a bool, text or bytes")


def pub(value: Any, at: str) -> None:
    """Check a map of declared public fields (``docs/format.md`` 4)."""
    if type(value) is not dict:
        raise refuse("type", at, "must be a map")
    if len(value) > limits.MAX_PUB_ENTRIES:
        raise refuse("range", at, f"must hold at most {limits.MAX_PUB_ENTRIES} entries")
    for key, item in value.items():
        if type(key) is not str or not key.isascii() or not 1 <= len(key) <= limits.MAX_PUB_KEY:
            _PUBLIC_KEY(key, f"{at} key")
        kind = type(item)
        if kind is int:
            if -(2**63) <= item < 2**63:
                continue
        elif kind is str and len(item) <= limits.MAX_PUB_VALUE and item.isascii():
            continue
        _public_value(item, f"{at}.{key}")


_PUBLIC_KEY = text(limits.MAX_PUB_KEY, 1)

point: Check = row(digest, digest)
"""Check of a public key's shape ``[x, y]``; that it lies on the curve is :func:`edgeseal.cose.public_key`'s to say."""

commit: Check = row(one_of(0, 1), digest)
"""Check of a commitment ``[mode, h]`` (``docs/format.md`` 3)."""

size_root: Check = row(uint, digest)
"""Check of ``[size, root]``."""

log_size_root: Check = row(digest, uint, digest)
"""Check of ``[log, size, root]``."""
