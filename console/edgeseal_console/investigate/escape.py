"""Text from evidence made safe to print: it must not move the cursor, hide, reverse or imitate anything."""

from __future__ import annotations

import unicodedata

MAX_SHOWN = 2_000
"""Characters of one text that are shown."""

_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def safe(value: object) -> str:
    """Return ``value`` as one printable line: control, format, bidirectional and unassigned characters as escapes."""
    text = str(value)
    shown = "".join(_shown(char) for char in text[:MAX_SHOWN])
    return shown + ("…" if len(text) > MAX_SHOWN else "")


def _shown(char: str) -> str:
    if " " <= char <= "~":
        return char
    if unicodedata.category(char) in _HIDDEN:
        return f"\\u{{{ord(char):x}}}"
    return char
