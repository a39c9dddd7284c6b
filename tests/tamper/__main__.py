"""Print the tamper table as Markdown, or put it into a page: `python -m tests.tamper [ARCHITECTURE.md]`."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from tests.tamper.rows import ROWS

HEAD = "| tamper | by whom | evidence at hand | question | answer | exit |"
_PLACE = re.compile(rf"TAMPER-TABLE\n|{re.escape(HEAD)}\n(?:\|.*\n)+")


def table() -> str:
    """Return the table, one row a test."""
    lines = [HEAD, "|---|---|---|---|---|---|"]
    for row in ROWS:
        answer = f"{row.answer}, {row.reason}" if row.answer == "ok" else f"{row.answer}: `{row.reason}`"
        lines.append(f"| {row.tamper} | {row.by} | {row.evidence} | {row.question} | {answer} | {row.exit_code} |")
    return "\n".join(lines) + "\n"


def main(paths: list[str]) -> None:
    """Print the table, or write it where the page has it."""
    if not paths:
        print(table(), end="")
    for path in map(Path, paths):
        page = path.read_text("utf-8")
        if not _PLACE.search(page):
            sys.exit(f"{path} has no tamper table")
        path.write_text(_PLACE.sub(lambda _: table(), page, count=1), "utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
