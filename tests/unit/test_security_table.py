"""SECURITY.md's audit points name code and tests that exist, and what it says of all sources at once is so."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CONTRACTS = ROOT / "contracts"
SOURCES = sorted((CONTRACTS / "src").rglob("*.sol"))
POINTS = 24


def rows() -> list[list[str]]:
    """The cells of each audit point: number, question, answer, code, test."""
    text = (ROOT / "SECURITY.md").read_text("utf-8")
    table = text[text.index("the 24 audit points") :]
    found = [line.strip("|").split(" | ") for line in table.splitlines() if re.match(r"\| \d+ \|", line)]
    return [[cell.strip() for cell in row] for row in found]


def named(cell: str) -> list[tuple[Path, str]]:
    """Each (file, name) of a cell: a file in backticks, then the names it has, in backticks, up to the next file."""
    found, file = [], None
    for token in re.findall(r"`([^`]+)`", cell):
        if re.search(r"\.(sol|py|json)$", token):
            file = locate(token)
        elif re.fullmatch(r"\w+", token):
            assert file is not None, f"{token} stands before any file"
            found.append((file, token))
    return found


def locate(name: str) -> Path:
    places = [path for path in SOURCES if path.name == name]
    folders = (ROOT, CONTRACTS / "test", CONTRACTS / "test" / "vectors")
    places += [folder / name for folder in folders if (folder / name).exists()]
    assert len(places) == 1, f"{name}: {places}"
    return places[0]


def test_all_24_points_are_answered() -> None:
    assert [row[0] for row in rows()] == [str(number) for number in range(1, POINTS + 1)]
    assert all(len(row) == 5 and all(row) for row in rows())


@pytest.mark.parametrize("row", rows(), ids=lambda row: row[0])
def test_code_and_tests_named_are_there(row: list[str]) -> None:
    code, tests = named(row[3]), named(row[4])
    assert code and tests
    for file, name in code:
        text = file.read_text("utf-8")
        assert re.search(rf"\b(function|event|error|constant|revert|def) {name}\b|\b{name}\(", text), (file.name, name)
    for file, name in tests:
        text = file.read_text("utf-8")
        if file.suffix == ".json":
            assert name in {case["name"] for case in json.loads(text)["cases"]}, name
        else:
            assert re.search(rf"\b(function|def) {name}\(", text), (file.name, name)
            assert re.match(r"test|invariant_|check_", name)


def code_of(path: Path) -> str:
    return re.sub(r"//[^\n]*|/\*.*?\*/", "", path.read_text("utf-8"), flags=re.DOTALL)


def test_no_contract_calls_out() -> None:
    """Point 16: only views of the contracts fixed at construction, and the SHA-256 precompile by number."""
    for path in SOURCES:
        text = code_of(path)
        assert not re.search(r"\.(call|delegatecall|send|transfer|staticcall)\s*[({]", text), path
        assert not re.search(r"\bpayable\b|\bselfdestruct\b", text), path
        assert not re.search(r"\b(call|delegatecall|callcode|create2?)\(", text), path
        for arguments in re.findall(r"\bstaticcall\(([^,]+, [^,]+),", text):
            assert arguments == "gas(), 2", path
        if path.name != "TenantAdmin.sol":
            assert set(re.findall(r"\b(registry_?|fleetLog|log)\.(\w+)\(", text)) <= {
                ("registry", "adminOf"), ("registry", "keyOf"), ("registry", "isValidAt"), ("registry", "originOf"),
                ("fleetLog", "authorityOf"), ("fleetLog", "activeLogOf"), ("fleetLog", "head"),
                ("registry_", "fleetLog"), ("log", "registry"),
            }, path  # fmt: skip


def test_events_hold_no_text_and_no_bytes() -> None:
    """Point 22: numbers, digests, keys and addresses of accounts; nothing of any length."""
    found = 0
    for path in SOURCES:
        for arguments in re.findall(r"\bevent \w+\(([^)]*)\)", code_of(path)):
            found += 1
            assert not re.search(r"\bstring\b|\bbytes\b|\[\]", arguments), path
    assert found >= 30


def test_assembly_is_memory_safe_and_the_compiler_is_pinned() -> None:
    """Point 23."""
    blocks = 0
    for path in SOURCES:
        text = code_of(path)
        assert "pragma solidity 0.8.37;" in text, path
        for kind in re.findall(r"\bassembly\s*(\S+)", text):
            blocks += 1
            assert kind == '("memory-safe")', path
            assert path.parent.name == "libraries", f"{path}: assembly stands in libraries alone"
    assert blocks >= 10
