"""The table in docs/submitter.md names every rule and just the tests that exist.

``python tests/unit/gateway/submitter/test_rule_table.py`` writes its last column anew.
"""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[4]
PAGE = ROOT / "docs" / "submitter.md"
RULES = [f"S{number:02}" for number in range(1, 55)]
_NAME = re.compile(r"test_(S\d\d)_(\w+)")
_ROW = re.compile(r"\| (S\d\d) \| (.+?) \| *(.*?) *\|")


@cache
def existing() -> dict[str, list[str]]:
    """Return rule → names, without prefix, of the tests there are."""
    found: dict[str, set[str]] = {}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            match = _NAME.fullmatch(node.name) if isinstance(node, ast.FunctionDef) else None
            if match is not None:
                found.setdefault(match[1], set()).add(match[2])
    return {rule: sorted(names) for rule, names in found.items()}


def rows() -> list[tuple[str, str, list[str]]]:
    """Return (rule, what is done, tests) of the table, in its order."""
    found = []
    for line in PAGE.read_text("utf-8").splitlines():
        match = _ROW.fullmatch(line)
        if match is not None:
            found.append((match[1], match[2], re.findall(r"`(\w+)`", match[3] or "")))
    return found


def test_every_rule_has_one_row_and_a_test() -> None:
    table = rows()
    assert [rule for rule, _, _ in table] == RULES
    assert all(len(what) > 20 for _, what, _ in table)
    assert [rule for rule in RULES if not existing().get(rule)] == []


def test_the_table_names_the_tests_that_exist() -> None:
    assert {rule: tests for rule, _, tests in rows()} == existing()


def write() -> None:
    """Write the last column of the table from the tests there are."""
    tests = existing()

    def row(match: re.Match[str]) -> str:
        return f"| {match[1]} | {match[2]} | {' · '.join(f'`{name}`' for name in tests.get(match[1], []))} |"

    lines = [_ROW.sub(row, line) if _ROW.fullmatch(line) else line for line in PAGE.read_text("utf-8").splitlines()]
    PAGE.write_text("\n".join(lines) + "\n", "utf-8")


if __name__ == "__main__":
    write()
