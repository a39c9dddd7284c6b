"""The command lines that the documents show: taken out as written."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edgeseal_console.demo.parts import CHECKOUT

PROGRAMS = ("edgeseal", "edgeseal-agent", "edgeseal-gateway")
_BLOCK = re.compile(r"(?P<mark><!-- test: (?P<name>[a-z-]+) -->\n)?```sh\n(?P<text>.*?)```", re.DOTALL)
_BREAKS = {"&&", "||", ";", "|", "(", ")", "do", "done"}


@dataclass(frozen=True)
class Shown:
    """One command line, and where it stands."""

    place: str
    words: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.place}: {' '.join(self.words)}"


def blocks(document: str, mark: str | None = None) -> list[str]:
    """Return the shell blocks of a document, in order; with ``mark`` only those below ``<!-- test: mark -->``."""
    text = (CHECKOUT / document).read_text()
    return [found["text"] for found in _BLOCK.finditer(text) if mark is None or found["name"] == mark]


def command_lines(document: str) -> list[Shown]:
    """Return every command line of ours in a document's shell blocks, ``$(…)`` replaced by a word."""
    return [Shown(document, words) for block in blocks(document) for words in split(block)]


def split(block: str) -> Iterator[tuple[str, ...]]:
    """Yield the words of each of our programs' command lines in shell text."""
    block = re.sub(r"\\\n\s*", " ", block)
    for line in block.splitlines():
        line = re.sub(r"\$\((?:[^()]|\([^)]*\))*\)", "SUBSTITUTED", line)
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        words: list[str] = []
        for word in [*lexer, ";"]:
            if word not in _BREAKS:
                words.append(word)
                continue
            if words and Path(words[0]).name in PROGRAMS:
                yield Path(words[0]).name, *words[1:]
            words = []
