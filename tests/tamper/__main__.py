"""Print the tamper table as Markdown, for ARCHITECTURE.md: `python -m tests.tamper`."""

from __future__ import annotations

from tests.tamper.rows import ROWS


def table() -> str:
    """Return the table, one row a test."""
    lines = ["| tamper | by whom | evidence at hand | question | answer | exit |", "|---|---|---|---|---|---|"]
    for row in ROWS:
        answer = f"{row.answer}, {row.reason}" if row.answer == "ok" else f"{row.answer}: `{row.reason}`"
        lines.append(f"| {row.tamper} | {row.by} | {row.evidence} | {row.question} | {answer} | {row.exit_code} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(table(), end="")
