"""docs/format.md lists every reason code that the core can give, and every code it lists is given somewhere."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "format.md").read_text("utf-8")
RAISED = {"FormatError", "VerificationError", "TrustError"}
GIVEN = {"fail", "leave_open", "refuse", "_refuse", "_leave"}
"""Functions of the core whose first argument is a code."""
CODE = re.compile(r"[a-z][a-z0-9_]*")


SECTION = PAGE.split("## 18 Reason codes")[1]
LISTED = set(re.findall(r"`([a-z]+(?:_[a-z0-9]+)*)`", SECTION)) - {"exp", "until", "crit"}


def trees(*folders: str) -> Iterator[ast.AST]:
    for folder in folders:
        for path in (ROOT / folder).rglob("*.py"):
            yield from ast.walk(ast.parse(path.read_text("utf-8")))


def called(node: ast.Call) -> str:
    return node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")


def test_every_code_of_the_core_is_listed() -> None:
    given = set()
    for node in trees("edgeseal"):
        if isinstance(node, ast.Call) and called(node) in RAISED | GIVEN and node.args:
            first = node.args[0]
            if isinstance(first, ast.Constant) and isinstance(first.value, str) and CODE.fullmatch(first.value):
                given.add(first.value)
    assert len(given) > 150
    assert given - LISTED == set()


def test_every_listed_code_is_given() -> None:
    words = {
        node.value
        for node in trees("edgeseal", "agent", "gateway", "console")
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    assert LISTED - words == set()


def test_no_code_is_listed_twice() -> None:
    names = re.findall(r"(?:^|· |: )`([a-z]+(?:_[a-z0-9]+)*)`", SECTION, re.MULTILINE)
    assert sorted(name for name in set(names) if names.count(name) > 1) == []
