"""YAML as a strict subset, and typed reading of what came out of it.

Model manifests, trust files and configuration are written by people and read by machines that must not be talked into
anything. So the subset is what JSON can say in YAML's spelling: one document, maps with unique text keys, lists, and
scalars of five kinds. Anchors, aliases, merge keys, tags, directives and further documents are refused, each with its
own code; depth, node count and size are bounded before anything is built (docs/format.md, "Strict YAML").

Plain scalars resolve as in JSON, not as in YAML 1.1: ``true`` and ``false``; ``null`` and ``~``; decimal integers
without leading zeros; decimal floats. Everything else, ``yes``, ``on``, ``0x10`` and ``2026-01-01`` included, is text.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Final, NoReturn, TypeAlias

import yaml

from edgeseal.errors import FormatError

YamlValue: TypeAlias = "bool | int | float | str | list[YamlValue] | dict[str, YamlValue] | None"

MAX_DEPTH: Final = 12
"""Nested maps and lists, the outermost counted."""
MAX_NODES: Final = 20_000
"""Scalars, lists and maps of one document, keys counted."""
MAX_INT_DIGITS: Final = 78
"""Digits of an integer: what an unsigned 256-bit number needs."""

_INT: Final = re.compile(r"-?(?:0|[1-9][0-9]*)")
_FLOAT: Final = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]{1,3})?")
_WORDS: Final[dict[str, bool | None]] = {"true": True, "false": False, "null": None, "~": None, "": None}
_END: Final = object()


def load(data: bytes, limit: int) -> dict[str, YamlValue]:
    """Decode ``data`` (untrusted, at most ``limit`` bytes) as one strict YAML map and return it.

    Args:
        data: UTF-8 bytes without a byte order mark.
        limit: largest accepted length in bytes, checked before anything else is done.

    Raises:
        FormatError: and nothing else, with code ``yaml_too_large``, ``yaml_not_utf8``, ``yaml_syntax``,
            ``yaml_directive``, ``yaml_documents``, ``yaml_not_a_map``, ``yaml_depth``, ``yaml_nodes``, ``yaml_alias``
            (anchors too), ``yaml_tag``, ``yaml_key_type``, ``yaml_merge_key``, ``yaml_duplicate_key`` or
            ``yaml_number``.
    """
    if len(data) > limit:
        raise FormatError("yaml_too_large", f"{len(data)} bytes of YAML, the limit is {limit}")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise FormatError("yaml_not_utf8", f"byte {error.start} is not UTF-8") from error
    if text.startswith("\ufeff"):
        raise FormatError("yaml_not_utf8", "the file starts with a byte order mark")
    try:
        return _Builder(yaml.parse(text, Loader=yaml.SafeLoader)).document()
    except (yaml.YAMLError, RecursionError, ValueError, OverflowError) as error:
        raise FormatError("yaml_syntax", " ".join(str(error).split())[:300]) from error


class _Builder:
    """Turns PyYAML's event stream into values, refusing whatever the subset does not know."""

    def __init__(self, events: Iterator[yaml.Event]) -> None:
        self._events = events
        self._nodes = 0

    def document(self) -> dict[str, YamlValue]:
        next(self._events)  # the stream's start
        start = next(self._events)
        if not isinstance(start, yaml.DocumentStartEvent):
            raise FormatError("yaml_not_a_map", "the file is empty")
        if start.version or start.tags:
            _refuse("yaml_directive", "a % directive", start)
        value = self._node(next(self._events), 1)
        if type(value) is not dict:
            _refuse("yaml_not_a_map", "the top level is not a map", start)
        next(self._events)  # the document's end
        end = next(self._events)
        if not isinstance(end, yaml.StreamEndEvent):
            _refuse("yaml_documents", "a second document", end)
        return value

    def _node(self, event: yaml.Event, depth: int) -> YamlValue:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            _refuse("yaml_nodes", f"more than {MAX_NODES} nodes", event)
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            _refuse("yaml_alias", "an anchor or alias", event)
        if getattr(event, "tag", None) is not None:
            _refuse("yaml_tag", "a tag", event)
        if isinstance(event, yaml.ScalarEvent):
            return _plain(event) if event.style is None else _quoted(event)
        if depth > MAX_DEPTH:
            _refuse("yaml_depth", f"more than {MAX_DEPTH} levels", event)
        return self._list(depth) if isinstance(event, yaml.SequenceStartEvent) else self._map(depth)

    def _list(self, depth: int) -> list[YamlValue]:
        items: list[YamlValue] = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            items.append(self._node(event, depth + 1))
        return items

    def _map(self, depth: int) -> dict[str, YamlValue]:
        items: dict[str, YamlValue] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            key = self._node(event, depth + 1) if isinstance(event, yaml.ScalarEvent | yaml.AliasEvent) else None
            if type(key) is not str:
                _refuse("yaml_key_type", "a key that is not text", event)
            if key == "<<":
                _refuse("yaml_merge_key", "a merge key", event)
            if key in items:
                _refuse("yaml_duplicate_key", f"the key {key[:80]!r} a second time", event)
            items[key] = self._node(next(self._events), depth + 1)
        return items


def _quoted(event: yaml.ScalarEvent) -> str:
    text = str(event.value)
    if any("\ud800" <= char <= "\udfff" for char in text):  # an escape can spell half a character
        _refuse("yaml_not_utf8", "a lone surrogate", event)
    return text


def _plain(event: yaml.ScalarEvent) -> YamlValue:
    text = str(event.value)
    if text in _WORDS:
        return _WORDS[text]
    if _INT.fullmatch(text):
        if len(text.lstrip("-")) > MAX_INT_DIGITS:
            _refuse("yaml_number", f"an integer of more than {MAX_INT_DIGITS} digits", event)
        return int(text)
    if _FLOAT.fullmatch(text):
        value = float(text)
        if not math.isfinite(value):
            _refuse("yaml_number", "a number too large for a 64-bit float", event)
        return value
    return text


def _refuse(code: str, what: str, event: yaml.Event) -> NoReturn:
    mark = event.start_mark
    where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
    raise FormatError(code, what + where)


class Section:
    """Reads one map field by field and refuses what is missing, of another type, out of range or left over.

    ``where`` is the dotted path printed in errors. Every reader takes its key out of the section, so ``done()`` can
    name what nobody asked for. Readers raise ``FormatError`` with ``yaml_missing_key``, ``yaml_type`` or
    ``yaml_range``; with ``default`` given, a missing key (never a null) returns it.
    """

    def __init__(self, values: dict[str, YamlValue], where: str = "") -> None:
        self._values = dict(values)
        self._where = where

    def path(self, key: str) -> str:
        """Return the dotted path of ``key`` for messages."""
        return f"{self._where}.{key}" if self._where else key

    def __contains__(self, key: str) -> bool:
        """Say whether ``key`` is present and not yet read."""
        return key in self._values

    def take(self, key: str, default: object = _END) -> object:
        """Return the raw value of ``key``; callers check its type themselves."""
        if key not in self._values:
            if default is _END:
                raise FormatError("yaml_missing_key", f"{self.path(key)} is missing")
            return default
        return self._values.pop(key)

    def text(self, key: str, pattern: str, default: object = _END) -> str:
        """Return text that matches the whole of ``pattern``."""
        value = self.take(key, default)
        if type(value) is not str:
            raise FormatError("yaml_type", f"{self.path(key)} is not text; quote it if it looks like a number")
        if not re.fullmatch(pattern, value, re.DOTALL):
            raise FormatError("yaml_range", f"{self.path(key)} does not match {pattern}")
        return value

    def integer(self, key: str, low: int, high: int, default: object = _END) -> int:
        """Return an integer from ``low`` to ``high``, both included."""
        value = self.take(key, default)
        if type(value) is not int:
            raise FormatError("yaml_type", f"{self.path(key)} is not an integer")
        if not low <= value <= high:
            raise FormatError("yaml_range", f"{self.path(key)} is not within {low} to {high}")
        return value

    def number(self, key: str, low: float, high: float, default: object = _END) -> float:
        """Return an integer or float from ``low`` to ``high`` as a float."""
        value = self.take(key, default)
        if type(value) is not int and type(value) is not float:
            raise FormatError("yaml_type", f"{self.path(key)} is not a number")
        if not low <= value <= high:
            raise FormatError("yaml_range", f"{self.path(key)} is not within {low} to {high}")
        return float(value)

    def boolean(self, key: str, default: object = _END) -> bool:
        """Return true or false."""
        value = self.take(key, default)
        if type(value) is not bool:
            raise FormatError("yaml_type", f"{self.path(key)} is neither true nor false")
        return value

    def sequence(self, key: str, most: int, default: object = _END) -> list[YamlValue]:
        """Return a list of at most ``most`` items, each still unread."""
        value = self.take(key, default)
        if type(value) is not list:
            raise FormatError("yaml_type", f"{self.path(key)} is not a list")
        if len(value) > most:
            raise FormatError("yaml_range", f"{self.path(key)} has {len(value)} items, the limit is {most}")
        return value

    def section(self, key: str) -> Section:
        """Return the map under ``key`` as a section of its own."""
        value = self.take(key)
        if type(value) is not dict:
            raise FormatError("yaml_type", f"{self.path(key)} is not a map")
        return Section(value, self.path(key))

    def sections(self, key: str, most: int) -> list[Section]:
        """Return a list of maps under ``key``, at most ``most``, as sections."""
        found = []
        for index, value in enumerate(self.sequence(key, most)):
            if type(value) is not dict:
                raise FormatError("yaml_type", f"{self.path(key)}[{index}] is not a map")
            found.append(Section(value, f"{self.path(key)}[{index}]"))
        return found

    def left(self) -> list[str]:
        """Return the keys that no reader has taken yet, in the file's order."""
        return list(self._values)

    def done(self) -> None:
        """Refuse keys that no reader asked for, with code ``yaml_unknown_key``."""
        if self._values:
            raise FormatError("yaml_unknown_key", f"unknown: {', '.join(self.path(key)[:80] for key in self._values)}")
