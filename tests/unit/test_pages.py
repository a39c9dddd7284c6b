"""The pages for people name files, links and tests that exist; each row of the crash tables has its test."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for pattern in ("*.md", "docs/**/*.md", "agent/*.md", "gateway/*.md", "systemd/*.md", "firmware-config/*.md",
                    "contracts/*.md", "models/**/*.md", "tests/vectors/*.md")
    for path in ROOT.glob(pattern)
)  # fmt: skip
FOLDERS = ("edgeseal", "agent", "gateway", "console", "contracts/src", "contracts/script", "contracts/test", "scripts",
           "docs", "systemd", "firmware-config", "models", "requirements", "tests", "benchmarks")  # fmt: skip
ELSEWHERE = {
    "agent.yaml", "gateway.yaml", "console.yaml", "network.yaml", "trust.yaml", "next.yaml", "enrol-request.json",
    "decommissioned.json", "lost.json", "summary.json", "index.json",
}  # fmt: skip
"""Names of files that operators, devices and bundles have, not this repository."""
_FILE = re.compile(r"`([A-Za-z0-9_./-]+\.(?:py|md|sol|sh|json|yaml|service|lock|toml|c))(?:::[^`]*)?`")
_LINK = re.compile(r"\]\(([^)#\s]+)(#[^)\s]*)?\)")
_TEST = re.compile(r"\b(test_\w+)(…?)")
_IDS = re.compile(r"`[\w…]*\[([^\]]+)\]`")


def text_of(page: str) -> str:
    return (ROOT / page).read_text("utf-8")


@cache
def names() -> set[str]:
    """The names of all files of the folders that are ours."""
    return {path.name for folder in FOLDERS for path in (ROOT / folder).rglob("*") if "node_modules" not in path.parts}


@cache
def code() -> str:
    """All test code, as one text."""
    return "\n".join(path.read_text("utf-8") for path in sorted((ROOT / "tests").rglob("*.py")))


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    found = re.findall(r"^#+ (.*)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in found}


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    for target, anchor in _LINK.findall(text_of(page)):
        if "://" in target:
            continue
        place = (ROOT / page).parent / target
        assert place.exists(), target
        assert not anchor or anchor[1:] in anchors(place), target + anchor


@pytest.mark.parametrize("page", PAGES)
def test_files_named_are_there(page: str) -> None:
    for name in _FILE.findall(text_of(page)):
        file = Path(name)
        there = (ROOT / file).exists() or ((ROOT / page).parent / file).exists() or file.name in names()
        assert there or file.name in ELSEWHERE, name


@pytest.mark.parametrize("page", ["ARCHITECTURE.md", "SECURITY.md", "CONTRIBUTING.md"])
def test_tests_named_are_there(page: str) -> None:
    for name, rest in _TEST.findall(text_of(page)):
        end = r"\w*" if rest else r"\b"
        assert f"{name}.py" in names() or re.search(rf"def {name}{end}\(", code()) or name in CONTRACT_TESTS, name


CONTRACT_TESTS = "\n".join(path.read_text("utf-8") for path in (ROOT / "contracts" / "test").rglob("*.sol"))


def crash_rows() -> list[str]:
    """The rows of the crash tables, each a line."""
    part = text_of("ARCHITECTURE.md").split("## Crash table")[1].split("## Tamper table")[0]
    lines = [line for line in part.splitlines() if line.startswith("| ")]
    return [line for line in lines if not line.startswith("| crash after")]


def test_each_row_of_the_crash_tables_names_its_test() -> None:
    assert len(crash_rows()) > 70
    for row in crash_rows():
        cells = row.strip("| ").split(" | ")
        assert len(cells) == 5, row
        assert re.search(r"test_\w+|same|…\[|\bS\d\d\b|\bL\b", cells[4]), row


@pytest.mark.parametrize("row", crash_rows(), ids=lambda row: row[2:60])
def test_the_cases_that_a_row_names_are_there(row: str) -> None:
    for found in _IDS.findall(row.rsplit(" | ", 1)[1]):
        if f'"{found}"' in code():
            continue
        for case in found.split("; " if ";" in found else ", "):
            assert f'"{case}"' in code() or case in ("False", "True"), case
